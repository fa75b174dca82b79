"""A run of the store, as last seen: what indexes hold, and readers return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass
class StoredRun:
    """One run as last seen.

    `models` gives the logged model of each epoch among its outputs, `inputs` (after a refresh) those among its inputs.
    """

    run_id: str
    experiment_id: str
    status: str
    artifact_uri: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    models: dict[float, str]
    inputs: set[str]

    @property
    def finished(self) -> bool:
        return self.status == "FINISHED"

    @classmethod
    def of(cls, run: Run) -> StoredRun:
        outputs = run.outputs.model_outputs if run.outputs else []
        inputs = (run.inputs.model_inputs or []) if run.inputs else []
        return cls(
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            status=run.info.status,
            artifact_uri=run.info.artifact_uri,
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            metrics=dict(run.data.metrics),
            models={output.step: output.model_id for output in outputs},
            inputs={model.model_id for model in inputs},
        )
