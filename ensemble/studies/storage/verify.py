"""The values of trials in a storage, held against the outcomes in the folder of their study."""

from ensemble.runs.paths import Outputs
from ensemble.runs.seals import DamagedError
from ensemble.settings.trees import SettingsError
from ensemble.studies.storage.addresses import storage_url
from ensemble.studies.storage.connection import StorageDownError, existing_storage
from ensemble.studies.storage.folders import started_study, study_folder
from ensemble.studies.storage.records import differing_values, trials_of


def verify_study(name: str, outputs: Outputs) -> list[str]:
    """What is wrong with the values of a study; one whose storage does not answer is not looked at."""
    folder = study_folder(outputs, name)
    try:
        study = started_study(outputs, name)
        storage = existing_storage(storage_url(None, folder), study.storage)
        return [] if storage is None else list(differing_values(trials_of(study, storage), folder))
    except (DamagedError, SettingsError) as error:
        return [str(error)]
    except StorageDownError:
        return []
