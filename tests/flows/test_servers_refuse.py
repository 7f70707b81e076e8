"""What `paleo up` refuses: pages of other sites and hosts, strangers without the password, files that are no pages."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from flows import prefect_server, server_apps
from tests.browser import CHROMIUM, MISSING, browser
from tests.flows import mini_project as mini

SERVERS = ("prefect", "mlflow", "gallery")
# A question to each server that has an answer for its own page.
QUESTIONS = {"prefect": "/api/flows/filter", "mlflow": "/ajax-api/2.0/mlflow/experiments/search", "gallery": "/"}
FOREIGN_HOSTS = (
    "evil.example",
    "10.evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "0.0.0.0",
    "",
)


@pytest.fixture(scope="module")
def addresses(up) -> dict[str, str]:
    (up / "site/.private").mkdir(parents=True, exist_ok=True)
    (up / "site/sheets").mkdir(exist_ok=True)
    (up / "site/index.html").write_text("hello")
    Image.new("RGB", (3, 2)).save(up / "site/picture.png")
    found = json.loads((up / ".work/servers.json").read_text())
    base = {"prefect": found["PREFECT_API_URL"].removesuffix("/api"), "mlflow": found["MLFLOW_TRACKING_URI"]}
    return found | base


def ask(addresses: dict[str, str], server: str, **headers: str) -> httpx.Response:
    """A question to a server, with its password."""
    user, _, password = addresses["PREFECT_API_AUTH_STRING"].partition(":")
    url, auth = f"{addresses[server]}{QUESTIONS[server]}", (user, password) if server == "prefect" else None
    if server == "gallery":
        return httpx.get(url, headers=headers)
    return httpx.post(url, json={"max_results": 1} if server == "mlflow" else {}, headers=headers, auth=auth)


@pytest.mark.parametrize("server", SERVERS)
def test_a_foreign_host_or_origin_is_refused_and_the_own_ones_are_answered(addresses, server):
    own = addresses[server].removeprefix("http://")
    local = own.replace("127.0.0.1", "localhost")
    for headers in ({}, {"Origin": f"http://{own}"}, {"Host": local, "Origin": f"http://{local}"}):
        assert ask(addresses, server, **headers).status_code == 200, headers
    assert ask(addresses, server, Host="localhost:9").status_code == 200, "behind a tunnel the port is another one"
    for host in FOREIGN_HOSTS:
        answer = ask(addresses, server, Host=host)
        assert answer.status_code in (400, 403) and "hello" not in answer.text, host
    for origin in (
        "http://evil.example",
        "null",
        "http://127.0.0.1:9",
        "http://localhost",
        f"http://{own}.evil.example",
    ):
        assert ask(addresses, server, Origin=origin).status_code == 403, origin
    answer = ask(addresses, server, Host="evil.example")
    assert answer.text == "refused: the host 'evil.example' is not this machine; use 127.0.0.1 or localhost\n"
    assert ask(addresses, server, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}).status_code == 403


def test_a_link_on_a_page_of_the_web_may_be_followed(addresses):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert httpx.get(addresses["gallery"], headers=link).text == "hello"
    assert httpx.post(addresses["gallery"], headers=link).status_code == 403


def test_prefect_answers_nobody_without_its_password(addresses):
    api = addresses["PREFECT_API_URL"]
    assert httpx.get(f"{api}/health").json() is True, "which is how its readiness is seen"
    for headers in ({}, {"Authorization": f"Basic {base64.b64encode(b'admin:pass').decode()}"}):
        assert httpx.post(f"{api}/deployments/filter", json={}, headers=headers).status_code == 401
    assert mini.prefect(addresses).post("/deployments/filter", json={}).status_code == 200


def test_a_web_socket_of_a_foreign_page_is_refused(addresses):
    address = addresses["PREFECT_API_URL"].replace("http://", "ws://") + "/events/in"
    with connect(address, subprotocols=["prefect"]) as socket:
        assert socket.subprotocol == "prefect"
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, subprotocols=["prefect"], origin="http://evil.example")


def test_the_gallery_serves_pages_and_no_links_dotfiles_or_lists(up, addresses, tmp_path):
    site = up / "site"
    (tmp_path / "secret.txt").write_text("secret")
    (site / "link.txt").symlink_to(tmp_path / "secret.txt")
    (site / "inner.html").symlink_to("index.html")
    (site / "linked").symlink_to(tmp_path)
    (site / ".private/notes.txt").write_text("secret")
    (site / ".env").write_text("secret")
    (site / "sheets/1.txt").write_text("sheet")
    refused = (
        "link.txt",
        "inner.html",
        "linked/secret.txt",
        "linked/",
        ".env",
        ".private/notes.txt",
        "sheets/",
        "sheets",
    )
    refused += (
        "..%2fparams.yaml",
        "%2e%2e/params.yaml",
        "sheets/..%2f..%2fparams.yaml",
        "%2e/.env",
        "/etc/passwd",
        "no",
    )
    for path in refused:
        answer = httpx.get(f"{addresses['gallery']}/{path}", follow_redirects=True)
        assert (answer.status_code, answer.text) == (404, "Not Found"), path
    assert httpx.get(f"{addresses['gallery']}/sheets/1.txt").text == "sheet"


def test_before_the_first_run_the_gallery_says_what_makes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = TestClient(server_apps.gallery(), base_url="http://127.0.0.1").get("/")
    assert (answer.status_code, answer.text) == (404, "there is no gallery yet; `paleo run` makes it")


def test_its_password_is_for_this_user_only_and_no_other_start_has_it(up, addresses):
    assert (up / ".work/servers.json").stat().st_mode & 0o777 == 0o600
    assert (
        len(addresses["PREFECT_API_AUTH_STRING"]) >= 28
        and prefect_server.new_password() != prefect_server.new_password()
    )
    for log in (up / ".work/logs").glob("*.log"):
        assert addresses["PREFECT_API_AUTH_STRING"] not in log.read_text()


def test_a_password_of_the_environment_is_taken(monkeypatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "me:mine")
    assert prefect_server.new_password() == "me:mine"


def test_a_run_with_a_wrong_password_ends_before_it_starts_and_says_which_variable(fresh, addresses):
    done = mini.flows(fresh, "run", PREFECT_API_URL=addresses["PREFECT_API_URL"])
    assert done.returncode == 1
    assert "refuses these credentials; set PREFECT_API_AUTH_STRING=USER:PASSWORD" in done.stderr
    assert not (fresh / "dvc.lock").exists()


class EvilPage(BaseHTTPRequestHandler):
    """An empty page; its scripts are run by the test."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def evil_port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), EvilPage)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


# What a page can try, with the password in its hands: to read, to run a deployment, to embed, to open a socket.
ATTACK = """(async ({prefect, mlflow, gallery, deployment, password}) => {
  const done = {};
  const send = async (name, address, options) => {
    const answer = await fetch(address, options).catch(() => null);
    done[name] = answer === null ? 'blocked' : answer.type === 'opaque' ? 'sent blindly' : `read ${answer.status}`;
  };
  const json = {'Content-Type': 'application/json', Authorization: 'Basic ' + password};
  const run = prefect + '/api/deployments/' + deployment + '/create_flow_run';
  await send('list', prefect + '/api/deployments/filter', {method: 'POST', headers: json, body: '{}'});
  await send('run', run, {method: 'POST', headers: json, body: '{}'});
  await send('run blindly', run, {method: 'POST', mode: 'no-cors', body: '{}'});
  await send('health', prefect + '/api/health', {});
  await send('change', mlflow + '/ajax-api/2.0/mlflow/experiments/create',
    {method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"name": "evil"}'});
  await send('page', gallery + '/index.html', {});
  const image = new Image();
  image.src = gallery + '/picture.png';
  done.picture = await image.decode().then(() => 'read', () => 'blocked');
  const socket = new WebSocket(prefect.replace('http', 'ws') + '/api/events/in', ['prefect']);
  done.socket = await new Promise((end) => {
    socket.onopen = () => end('read');
    socket.onerror = () => end('blocked');
  });
  return done;
})(%s)"""
NOTHING = dict.fromkeys(("list", "run", "health", "change", "page", "picture", "socket"), "blocked")


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_an_evil_page_in_a_browser_reads_and_changes_nothing_and_the_printed_address_works(up, addresses, evil_port):
    api = mini.prefect(addresses)
    deployment = mini.until(lambda: api.post("/deployments/filter", json={}).json(), "a deployment")[0]["id"]
    password = base64.b64encode(addresses["PREFECT_API_AUTH_STRING"].encode()).decode()
    with browser("--host-resolver-rules=MAP *.example 127.0.0.1") as page:
        before = api.post("/flow_runs/count", json={}).json()
        for site in ("evil.example", "127.0.0.1"):
            page.go(f"http://{site}:{evil_port}/")
            known = {name: addresses[name] for name in SERVERS} | {"deployment": deployment, "password": password}
            done = page.run(ATTACK % json.dumps(known))
            assert done.pop("run blindly") == "sent blindly"
            # Chromium loads pictures of another port of the same host; their pixels stay closed to the page.
            assert done == (NOTHING if site == "evil.example" else NOTHING | {"picture": "read"}), site
        for server in SERVERS:  # a name of the web that was made to lead here
            page.go(addresses[server].replace("127.0.0.1", "rebound.example") + QUESTIONS[server])
            assert page.run("document.body.innerText").startswith("refused: the host 'rebound.example:"), server
        assert api.post("/flow_runs/count", json={}).json() == before
        assert "evil" not in ask(addresses, "mlflow").text

        printed = up.with_suffix(".log").read_text().split()[1]
        assert printed == f"{addresses['prefect']}/open#{password}"
        page.go(printed)
        page.wait("location.pathname.endsWith('/runs') && document.body?.innerText.includes('Deployments')")
        own = ATTACK.replace("fetch(address, options)", "fetch(address, {...options, mode: 'same-origin'})")
        known["mlflow"] = known["gallery"] = known["prefect"]
        assert page.run(own.replace("'/create_flow_run'", "''") % json.dumps(known))["list"] == "read 200"
