"""The stages of the pipeline, a verb each: ``python -m pipelines.<verb>``.

Importing this package keeps its libraries from sending usage statistics home. It is the one import in the project
with a side effect, because they read these variables when they are imported; a value that is already set stands.
"""

import os

for _variable, _value in {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}.items():
    os.environ.setdefault(_variable, _value)
