from pipeline.io.images.file_facts import inspect_pictures, sizes_bytes
from tests.site_fixture import picture


def test_pictures_are_inspected_in_order(tmp_path):
    picture(1, 40).save(tmp_path / "a.png")
    picture(1, 40).convert("L").save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"nothing")
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes()[:90])
    inspected = inspect_pictures(tmp_path, ["d.png", "c.png", "b.png", "a.png", "e.png"], "validate")
    expected = ["the picture is damaged", "the file is no picture", "", "", "the file is missing"]
    assert inspected["problem"].tolist() == expected
    assert inspected.loc[3, ["width_px", "height_px", "mode"]].tolist() == [40, 40, "RGB"]
    assert inspected.loc[2, "pixels"] != inspected.loc[3, "pixels"]


def test_stored_files_come_with_their_sizes_bytes(tmp_path):
    (tmp_path / "images/folder").mkdir(parents=True)
    (tmp_path / "images/a.png").write_bytes(b"123")
    assert sizes_bytes(tmp_path, "images") == {"images/a.png": 3}
    assert sizes_bytes(tmp_path, "nowhere") == {}
