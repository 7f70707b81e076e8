"""The stages of the DAG by name, each with the line that the help shows.

A stage is one file `pipeline/<name>.py` with a function of that name, a stanza in dvc.yaml, and one line here. Whatever
else needs to know which stages there are reads this table or dvc.yaml.
"""

STAGES: dict[str, str] = {
    "collect": "Collect candidate pictures and their licences from the sources.",
    "curate": "Check and deduplicate pictures; split into train and holdout.",
    "validate": "Check the curated data set with Great Expectations.",
    "train": "Fine-tune the base model; an interrupted training is continued.",
    "sample": "Draw the prompt suite with the base model and every snapshot.",
    "evaluate": "Measure the samples and choose the step.",
    "gallery": "Build the static pages under site/.",
}
OVER_ALL_SPECIES = ("gallery",)  # run once for all species together; every other stage runs once per species
