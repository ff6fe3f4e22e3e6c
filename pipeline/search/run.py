"""Run the trials of a search in parallel, batch by batch of each contender; a finished trial never runs again."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.search.plan import Contender
from pipeline.search.proposals import Method, Pruning, propose, version
from pipeline.search.space import Values, settings_of
from pipeline.search.trial import run_trial
from pipeline.search.trials import SearchTrial, add_trials, best_of, read_trials, trials_of
from pipeline.sweeps.plan import Resolver, Trial
from pipeline.sweeps.processes import POLL_SECONDS, Outcome, Processes
from pipeline.sweeps.run import with_one_thread


@dataclass(frozen=True)
class _Proposal:
    """A trial to be run."""

    contender: Contender
    number: int
    values: Values
    recipe: Recipe
    pruning: Pruning | None

    def finished(self, outcome: Outcome) -> SearchTrial:
        return _record(self.contender, self.number, self.values, outcome)

    @property
    def name(self) -> str:
        return f"{self.contender.name}.{self.number}"


def run_search(
    contenders: list[Contender], store: Store, folder: Path, workers: int, on_result: Callable[[], object]
) -> None:
    """Run the trials without a result in `folder`, `workers` at a time, each in its own process with one thread.

    A batch of a contender begins when the one before it has ended. `on_result` is called after every trial. A trial
    that cannot run stops its contender; the first such error is raised at the end. An interrupt ends the running
    trainings; the next start resumes them.
    """
    total = sum(contender.plan.search.trials for contender in contenders)
    _tell_versions(contenders, folder)
    info(f"{_count(contenders, folder)} of {total} trials are finished")
    processes, errors = Processes(folder / "log"), dict[str, str]()
    pool = ThreadPoolExecutor(workers)  # a thread waits for each process
    running: dict[Future[Outcome], _Proposal] = {}

    def start(contender: Contender) -> None:
        for proposal in _next_batch(contender, folder):
            arguments = (proposal.recipe, store.address, proposal.pruning)
            running[pool.submit(processes.run, proposal.name, run_trial, *arguments)] = proposal

    try:
        for contender in contenders:
            start(contender)
        while running:
            for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                proposal, outcome = running.pop(future), future.result()
                if "error" in outcome:
                    errors[proposal.name] = outcome["error"]
                    info(f"{proposal.name}  cannot run: {outcome['error']}")
                    continue
                trial = proposal.finished(outcome)
                add_trials(folder, [trial])
                on_result()
                info(f"[{_count(contenders, folder)}/{total}] {_line(trial)}")
                if _batch_has_ended(proposal.contender, running.values(), errors):
                    start(proposal.contender)
    finally:
        processes.stop()  # an interrupt may reach only this process
        pool.shutdown(cancel_futures=True)
    for name, error in errors.items():
        raise SettingError(name, error, f"{len(errors)} trials cannot run, see {folder / 'log'}")


def winners_of(contenders: list[Contender], folder: Path, store: Store) -> list[Trial]:
    """The best trial of each contender, with every seed of the plan, to be measured on the test items. Raises
    ArtifactError if a contender has none."""
    resolve, winners = Resolver(store), list[Trial]()
    for contender in contenders:
        finished = trials_of(contender, folder)
        best = best_of(finished.values())
        if best is None:
            first = next((trial.reason for trial in finished.values() if trial.reason), "no trial is finished")
            raise ArtifactError(contender.name, f"no trial is complete ({first})", "change the space or add trials")
        for seed in contender.plan.seeds:
            recipe = contender.recipe(best.values, seed)
            winners.append(Trial(recipe, contender.backbone, contender.variant, seed, resolve(recipe).metrics_key))
    return sorted(winners, key=lambda trial: contenders[0].plan.seeds.index(trial.seed))


def _next_batch(contender: Contender, folder: Path) -> list[_Proposal]:
    """The trials to run next. Those that the recipe does not allow are finished at once, as failed."""
    method = Method(contender.plan.search, contender.space, contender.epochs)
    while True:
        finished = trials_of(contender, folder)
        numbers = _batch(finished, contender.plan.search.trials, method.settings.batch)
        if not numbers:
            return []
        before = [finished[number] for number in range(numbers[0])]
        known = {number: finished[number].values for number in numbers if number in finished}
        batch = propose(method, before, known, numbers)
        proposals = []
        for position, (number, values) in enumerate(zip(numbers, batch, strict=True)):
            if number in finished:
                continue
            try:
                recipe = _allowed(contender, values)
            except SettingError as error:
                outcome = {"state": "failed", "reason": str(error)}
                add_trials(folder, [_record(contender, number, values, outcome)])
                continue
            prunes = method.settings.pruner != "none"
            pruning = Pruning(method, before, batch, position) if prunes else None
            proposals.append(_Proposal(contender, number, values, recipe, pruning))
        if proposals:
            return proposals


def _batch(finished: Mapping[int, SearchTrial], trials: int, size: int) -> range:
    """The numbers of the first batch that is not finished; none if all are."""
    missing = next((number for number in range(trials) if number not in finished), trials)
    first = missing // size * size
    return range(first, min(first + size, trials)) if missing < trials else range(0)


def _allowed(contender: Contender, values: Values) -> Recipe:
    """The recipe of a trial. Raises SettingError for values that do not go together."""
    from eimf.backbones.build import check_backbone

    recipe = with_one_thread(contender.recipe(values))
    check_backbone(recipe.model)
    return recipe


def _record(contender: Contender, number: int, values: Values, outcome: Outcome) -> SearchTrial:
    return SearchTrial(
        dataset=contender.dataset,
        backbone=contender.backbone,
        variant=contender.variant,
        number=number,
        search=contender.search,
        optuna=version(),
        values=values,
        **outcome,
    )


def _batch_has_ended(contender: Contender, running: Iterable[_Proposal], errors: Mapping[str, str]) -> bool:
    """False if a trial of the contender still runs, or could not."""
    names = [*(proposal.name for proposal in running), *errors]
    return not any(name.rpartition(".")[0] == contender.name for name in names)


def _count(contenders: list[Contender], folder: Path) -> int:
    return sum(len(trials_of(contender, folder)) for contender in contenders)


def _line(trial: SearchTrial) -> str:
    """One trial on a line."""
    if trial.state == "failed":
        end = f"failed: {trial.reason}"
    elif trial.state == "pruned":
        end = f"pruned after epoch {len(trial.valid)} at {trial.valid[-1]:.4f}"
    else:
        end = f"valid ndcg@10 {trial.value:.4f}"
    return f"{trial.name}  {end}  {' '.join(settings_of(trial.values))}"


def _tell_versions(contenders: list[Contender], folder: Path) -> None:
    """Print if finished trials were proposed by another Optuna than the next ones will be."""
    now = version()
    earlier = [trial.optuna for contender in contenders for trial in trials_of(contender, folder).values()]
    if others := sorted({name for name in earlier if name != now}):
        count = sum(name != now for name in earlier)
        info(f"optuna: {count} trials are by version {', '.join(others)}, others by {now}: neither repeats all")


def problems_of(folder: Path) -> list[str]:
    """What is wrong with the file of trials."""
    return read_trials(folder)[1]
