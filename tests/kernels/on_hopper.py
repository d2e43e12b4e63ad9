"""What the tests of Hopper's own kernels share."""

import pytest
import torch

ON_HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)


def hopper_only(test):
    return pytest.mark.gpu(pytest.mark.skipif(not ON_HOPPER, reason="needs a Hopper GPU")(test))


def counted_runs(monkeypatch, plan):
    """Calls of `plan.run` from now on."""
    runs = []
    run = plan.run

    def counted(self, *arguments):
        runs.append(self)
        run(self, *arguments)

    monkeypatch.setattr(plan, "run", counted)
    return runs
