"""Stop a training run at a given step, as a signal would."""

import signal

import pytest

from dmash_core.errors import Interrupted
from dmash_core.training.trainer import Trainer


def run_until(trainer: Trainer, moment: int) -> None:
    """Run a trainer that gets SIGTERM during step ``moment`` and stops there with everything saved."""
    step = trainer._train_step

    def until():
        step()
        if trainer.step == moment:
            trainer.stop_signal = signal.SIGTERM

    trainer._train_step = until
    with pytest.raises(Interrupted, match=f"at step {moment} "):
        trainer.run()
