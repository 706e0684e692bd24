"""Live progress display: a table on a terminal, log lines elsewhere, and a watchdog that speaks when nothing moves."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.actor import ActorHandle
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.config.objective import Objective
from orchestrator.console import say
from orchestrator.names import GREEDY
from orchestrator.progress.board import Snapshot
from orchestrator.progress.rate import RateMeter
from orchestrator.progress.text import describe_progress, describe_stall, trials_table
from orchestrator.progress.utilization import ActorMeter, PoolState

_POLL_S = 0.5
_LINE_EVERY_S = 10.0
_STALL_AFTER_S = 120.0


class ProgressDisplay:
    """Progress display, a context manager: rows done, rows per second, the time left, and how far each trial is."""

    def __init__(
        self,
        board: ActorHandle[Any],
        total: int,
        console: Console,
        meter: ActorMeter | None = None,
        objective: Objective | None = None,
    ) -> None:
        """Watch a board.

        Args:
            board: The board.
            total: Trajectories that are to be sampled.
            console: Where to show it.
            meter: Knows how busy the actors are.
            objective: What trials of a sweep report on.
        """
        self._board, self._total, self._console = board, total, console
        self._meter = meter
        self._objective, self._mode = (objective.text, objective.mode) if objective else ("", "max")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="progress")

    def __enter__(self) -> "ProgressDisplay":
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the last state and stop."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        started = last_line = time.monotonic()
        meter, only_greedy = RateMeter(), False
        bar = self._bar()
        task = bar.add_task("sampling", total=self._total, detail="")
        # Without a terminal there is nothing to animate.
        live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        if live:
            live.start()
        try:
            while True:
                stopping = self._stop.wait(_POLL_S)
                try:
                    now = self._snapshot()
                except ray.exceptions.GetTimeoutError:
                    # A busy machine answers late; there will be something to show the next time.
                    if stopping:
                        return
                    continue
                except ray.exceptions.RayError:
                    # The run itself reports what is wrong with the cluster.
                    return
                clock = time.monotonic()
                if only_greedy and now.running != (GREEDY,):
                    # Each of its rows takes as long as dozens of samples: the first time left would be far too long.
                    meter.begin_anew()
                only_greedy = now.running == (GREEDY,)
                meter.add(clock, now.done)
                pools = self._meter.state() if self._meter else {}
                # A budget rule settles questions before they have had all that they might.
                total = self._total - now.spared
                if live:
                    detail = self._words(now, meter, pools, with_trials=not now.trials)
                    bar.update(task, completed=now.done, total=total, detail=detail)
                    live.update(self._picture(now, bar), refresh=True)
                elif stopping or clock - last_line >= _LINE_EVERY_S:
                    last_line = clock
                    detail = self._words(now, meter, pools)
                    self._say(f"[{clock - started:6.1f} s] {now.done:,}/{total:,} trajectories, {detail}")
                if meter.idle_for(clock) >= _STALL_AFTER_S and now.done < total:
                    meter.forgive(clock)
                    self._say_stalled(now, pools)
                if stopping:
                    return
        finally:
            if live:
                live.stop()

    def _picture(self, now: Snapshot, bar: Progress) -> RenderableType:
        return Group(trials_table(now, self._objective, self._mode), bar) if now.trials else bar

    def _words(
        self, now: Snapshot, meter: RateMeter, pools: Mapping[str, PoolState], *, with_trials: bool = True
    ) -> str:
        return describe_progress(
            now, self._total - now.spared, meter.rate(), pools, with_trials=with_trials, mode=self._mode
        )

    def _say_stalled(self, now: Snapshot, pools: Mapping[str, PoolState]) -> None:
        free, whole = ray.available_resources(), ray.cluster_resources()
        self._say(describe_stall(now, _STALL_AFTER_S, pools, free, whole))

    def _say(self, line: str) -> None:
        say(self._console, line)

    def _snapshot(self) -> Snapshot:
        reply: Any = self._board.snapshot.remote()
        state: Snapshot = ray.get(reply, timeout=5)
        return state

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        )
