"""The stages of the DAG by name, each with the line that the help shows.

A stage is one file `pipeline/<name>.py` with a function of that name, a stanza in dvc.yaml, and one line here. Whatever
else needs to know which stages there are reads this table or dvc.yaml.
"""

STAGES: dict[str, str] = {
    "collect": "look at the sources and store candidate pictures with their licences",
    "curate": "decode, check and deduplicate pictures; split into train and holdout",
    "validate": "check the curated set with Great Expectations; red stops the run",
    "train": "fine-tune the base model; snapshots on one trajectory; resumes by itself",
    "sample": "draw the prompt suite with the base model and every snapshot",
    "evaluate": "measure the samples and choose the step",
    "gallery": "build the static pages under site/",
}
OVER_ALL_SPECIES = ("gallery",)  # run once for all species together; every other stage runs once per species
