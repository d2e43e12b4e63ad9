"""One deployment on one group of offers: its candidates, each with its best chunk size.

Times are computed once for all engines that read the model alike; memory is each engine's own. An
offer keeps the chunk size that serves most users, then the fastest; without any, the one nearest to
the target.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.admission.admission import Admission, Asked, Rule
from planner.admission.rules import label_of
from planner.deployment import Deployment
from planner.engines.platforms import not_laid_out
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.model import Model
from planner.search.candidates import REASONS, Candidate, Refusal
from planner.search.groups import Group
from planner.search.space import IDEAL, Space, Target
from planner.search.sweep import Compiled, Ints, Swept, compile_deployment, sweep


class Try:
    """points: GPU x chunk size x users that were tried, for every engine. refusals: by engines.
    apart: times are needed wherever a single prompt fits."""

    def __init__(
        self, model: Model, deployment: Deployment, target: Target, users: Ints, space: Space,
        group: Group, rules: Mapping[str, Rule], config: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.model, self.deployment, self.target = model, deployment, target
        self.users, self.chunk_tokens, self.apart = users, space.chunk_tokens, space.apart
        self.group, self.rules, self.config = group, rules, config
        self.sequences: Ints = -(-users // deployment.data_parallel_size)
        self.refusals: list[Refusal] = []
        self.points = 0

    def candidates(self) -> list[Candidate]:
        """Raises PlanRefused where the deployment does not suit the model."""
        admissions = {}
        for engine, rule in self.rules.items():
            found = self._admission(engine, rule)
            if found is not None:
                admissions[engine] = found
                self.points += found.needed_bytes.size
        if not admissions:
            return []
        least = 1 if self.apart else self.sequences[0]
        if not any((found.admitted >= least).any() for found in admissions.values()):
            return [c for name, found in admissions.items() for c in self._too_large(name, found)]
        times: dict[int, Swept] = {}
        judged = []
        for name, found in admissions.items():
            model = self._read_by(name)
            if id(model) not in times:
                times[id(model)] = sweep(self._compiled(model), self.group.grid)
            judged += self._judged(name, found, times[id(model)])
        return judged

    def _read_by(self, engine: str) -> Model:
        return self.model if engine == IDEAL else ENGINES[engine].as_read(self.model, self.config)

    def _compiled(self, model: Model) -> Compiled:
        return compile_deployment(
            model, self.deployment, self.target, self.users, self.chunk_tokens
        )

    def _admission(self, engine: str, rule: Rule) -> Admission | None:
        gpus = self.group.gpus(engine)
        if not gpus:
            return None
        reason = not_laid_out(engine, self.deployment)
        if reason is not None:
            self.refusals.append(Refusal(self.deployment, reason))
            return None
        asked = Asked(
            gpus, self.deployment, self.target.request.context, self.sequences, self.chunk_tokens
        )
        try:
            found = rule.admission(asked)
        except PlanRefused as error:
            if engine == IDEAL:
                raise
            self._refuse(engine, str(error))
            return None
        for reason in found.reasons:
            self._refuse(engine, reason)
        return found

    def _refuse(self, engine: str, reason: str) -> None:
        self.refusals.append(Refusal(self.deployment, f"{label_of(engine)}: {reason}"))

    def _too_large(self, engine: str, found: Admission) -> list[Candidate]:
        over = found.over(self.sequences)[:, :, 0]
        least = over.argmin(axis=1)
        return [
            self._candidate(
                engine, found, row, int(least[row]), self._sized(int(least[row])),
                lost="memory", excess=float(over[row, least[row]]), users=0,
            )
            for row in found.rows()
        ]  # fmt: skip

    def _sized(self, k: int) -> Deployment:
        return self.deployment.replace(max_num_batched_tokens=self.chunk_tokens[k])

    def _candidate(
        self, engine: str, found: Admission, row: int, k: int, deployment: Deployment,
        **figures: Any,
    ) -> Candidate:  # fmt: skip
        i = self.group.rows[engine][row]
        speed = self.group.speeds[i]
        return Candidate(
            offer=self.group.offers[i],
            deployment=deployment,
            engine=engine,
            basis=speed.basis,
            time_low=speed.low,
            time_high=speed.high,
            weights=self.group.weights,
            cache=self.group.cache,
            total_bytes=int(found.needed_bytes[row, k, 0]),
            budget_bytes=int(found.budget_bytes[row, k, 0]),
            admitted=int(found.admitted[row, k, 0]),
            **figures,
        )

    def _judged(self, engine: str, found: Admission, swept: Swept) -> list[Candidate]:
        target, rows, load = self.target, self.group.rows[engine], swept.load
        over = {
            "memory": found.over(self.sequences),
            "ttft": load.ttft_p95_s[rows] / (target.ttft_p95_s or np.inf),
            "tpot": load.tpot_s[rows] / (target.tpot_s or np.inf),
        }
        worst = np.maximum.reduce(list(over.values()))
        served = np.logical_and.accumulate(worst <= 1, axis=2).sum(axis=2)
        keys = (load.tpot_s[rows][:, :, 0], worst[:, :, 0].clip(1), -served)
        best = np.lexsort(keys, axis=1)[:, 0]
        rates = load.requests_per_s[rows] * self.users / self.sequences
        prompt = np.broadcast_to(swept.prefill_s, (*load.tpot_s.shape[:2], 1))[rows][:, :, 0]
        prompt = np.where(found.admitted[:, :, 0] >= 1, prompt, np.inf)
        alone = prompt.argmin(axis=1)
        sized = {int(k): self._sized(int(k)) for k in np.unique(best)}
        candidates = []
        for row in found.rows():
            i, k, count = rows[row], int(best[row]), int(served[row, best[row]])
            candidates.append(
                self._candidate(
                    engine, found, row, k, sized[k],
                    lost=next((name for name in REASONS if over[name][row, k, 0] > 1), None),
                    excess=float(worst[row, k, 0]),
                    users=int(self.users[count - 1]) if count else 0,
                    users_open=count == len(self.users),
                    ttft_s=float(swept.prefill_s[i, k, 0]),
                    ttft_p95_s=float(load.ttft_p95_s[i, k, 0]),
                    tpot_s=float(load.tpot_s[i, k, 0]),
                    requests_per_s=float(rates[row, k, 0]),
                    prefill_share=float(load.prefill_share[i, k, 0]),
                    step_s=float(swept.decode_s[i, 0, 0]),
                    alone_s=float(prompt[row, alone[row]]),
                    alone_chunk=self.chunk_tokens[alone[row]],
                )
            )  # fmt: skip
        return candidates
