"""The trials in a storage, held against the outcomes in the folder of their study."""

from contextlib import suppress

from ensemble.console import messages
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import DamagedError, UnreadableError
from ensemble.runs.verify import Complaint
from ensemble.studies.storage.addresses import storage_url
from ensemble.studies.storage.connection import StorageDownError, existing_storage, storage_may_fail
from ensemble.studies.storage.folders import started_study, study_folder
from ensemble.studies.storage.records import differing, trials_of


def verify_study(name: str, outputs: Outputs) -> list[Complaint]:
    """What is wrong with the trials of a study; its files are left to those who read every file."""
    folder, complaints = study_folder(outputs, name), []
    try:
        study = started_study(outputs, name)
        url = storage_url(None, folder)
        with storage_may_fail(url):
            storage = existing_storage(url, study.storage)
            trials = [] if storage is None else trials_of(study, storage)
        for trial in trials:
            with suppress(DamagedError, UnreadableError):
                complaints += filter(None, [differing(trial, folder)])
    except (DamagedError, UnreadableError):
        pass
    except ValueError as error:
        mend = f"# bring {folder.folder} back from a copy, or run the study under another name"
        complaints.append(Complaint(folder.database, str(error), mend=mend))
    except StorageDownError as error:
        if folder.database.is_file():
            complaints.append(Complaint(folder.database, str(error), damaged=False))
        else:
            messages.print(f"{folder.folder}: its trials were not looked at: {error}")
    return complaints
