"""What an operator may ask for, one run at a time.

Every request answers (whether it was done, a sentence).  Runs have a thread of their own; a stop
goes straight to the arm's loop, whatever that thread does, and cuts what the run may still send.
"""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arm_worldmodel.page.reins import Reins
from arm_worldmodel.page.sight import Sight
from arm_worldmodel.page.watch import Watch
from arm_worldmodel.page.words import state_of
from robots.goals import State, load_taken, save_taken, take_goal
from robots.limits import SafetyError
from robots.link import Link
from robots.safety import apart

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")
MOST_GOALS = 20
# A dry run from further away, from a hand turned or closed otherwise, is one from elsewhere
SAME_PLACE_M, SAME_TURN_RAD, SAME_CLOSEDNESS = 0.02, 0.1, 0.1
WATCH_S = 0.1  # how often the operator is looked for while the arm moves
Answer = tuple[bool, str]


@dataclass(frozen=True)
class Goal:
    """A goal picture uint8 [H, W, 3], its name, and the arm's state [7] when it was taken."""

    name: str
    image: NDArray[np.uint8]
    state: State = None


Goals = tuple[Goal, ...]


@dataclass(frozen=True)
class Work:
    """How runs are made.  ``imagine`` plans without moving, ``move`` moves; each is given the way
    to the arm, the goals and who watches.  An error they raise ends the run and is shown."""

    imagine: Callable[[Reins, Sequence[Goal], Watch], Any]
    move: Callable[[Reins, Sequence[Goal], Watch], Any]


@dataclass
class Run:
    """One dry run, or one that moves."""

    moves: bool
    goals: Goals
    reins: Reins
    watch: Watch = field(default_factory=Watch)
    outcome: str = ""  # what ended it before its end
    ended: threading.Event = field(default_factory=threading.Event)

    def told(self) -> str:
        """How it ended, in words."""
        if self.outcome:
            return f"The run ended: {self.outcome}"
        if not self.moves:
            return "Dry run: look at the path; Execute moves the arm."
        done = "The planner is done" if self.watch.finished else "All steps are made"
        return f"{done}; look whether the goal is reached."


class Desk:
    """Between the page's requests and the arm's loop."""

    def __init__(
        self, link: Link, work: Work, sight: Sight, goals: Path, absent_s: float = 3.0
    ) -> None:
        """goals: their folder.  absent_s: nobody looked at the page for so long while the arm
        moves: it is stopped [s].  Raises ``ValueError`` for a folder with other pictures."""
        self.link, self.work, self.sight = link, work, sight
        self.folder, self.absent_s = goals, absent_s
        self.goals: Goals = tuple(Goal(*taken) for taken in load_taken(goals))
        self.note = ""  # what came of the last run or request
        self.alarm = ""  # of a stop that nobody confirmed
        self._dry: Run | None = None
        self._moved: Run | None = None
        self._heard = float("-inf")
        self._recovering = threading.Lock()  # one step at a time; a stop does not wait for it
        self._lock = threading.Lock()  # of goals and of which run goes; never held while waiting

    # -- always at once --------------------------------------------------------------------------

    def stop(self, why: str = "Stop was pressed") -> Answer:
        """Hold the arm, by its own loop, and let no run send anything more."""
        self._cut(why)
        done, text = self.link.call("stop")
        self.note = f"{why}: the arm holds." if done else f"{why}, but it is NOT CONFIRMED: {text}"
        self.alarm = "" if done else self.note
        return done, self.note

    def _cut(self, why: str) -> None:
        for run in (self._dry, self._moved):
            if run is not None:
                run.reins.cut(why)

    def recover(self) -> Answer:
        """First step of a recovery; no run goes on after it."""
        self._cut("the arm was recovered")
        with self._recovering:
            return self._say(*self.link.call("recover"))

    def resume(self) -> Answer:
        """Second step."""
        with self._recovering:
            done, text = self.link.call("resume")
            if done:
                self.alarm = ""
            return self._say(done, text)

    def seen(self) -> None:
        """An operator looks at the page."""
        self._heard = time.monotonic()

    def _say(self, done: bool, text: str) -> Answer:
        self.note = text
        return done, text

    # -- goals and marks -------------------------------------------------------------------------

    def capture(self, name: str) -> Answer:
        """Take the present picture as the next goal."""
        if not NAME.fullmatch(name):
            return self._say(
                False, "Name the goal with letters, digits, blanks, - and _, 40 at most."
            )
        if len(self.goals) >= MOST_GOALS:
            return self._say(False, f"{MOST_GOALS} goals are the most; forget some first.")
        try:
            image, state = take_goal(self.link)
        except SafetyError as error:
            return self._say(False, f"No picture was taken: {error}")
        goal = Goal(name, image, state)
        return self._set_goals(lambda goals: (*goals, goal), f"{name} is captured.")

    def forget(self) -> Answer:
        """Forget all goals, and remove their files."""
        return self._set_goals(lambda _: (), "The goals are forgotten.")

    def _set_goals(self, change: Callable[[Goals], Goals], said: str) -> Answer:
        with self._lock:
            if self.busy:
                return self._say(False, "A run goes on; stop it, or wait for its end.")
            goals = change(self.goals)
            try:
                save_taken(
                    self.folder, [g.image for g in goals], [g.name for g in goals],
                    [g.state for g in goals],
                )
            except OSError as error:
                return self._say(False, f"The goals could not be written: {error}")
            self.goals = goals
        return self._say(True, said)

    def mark(self, u: float, v: float, stamp: float) -> Answer:
        """The fingertips are at this place in the picture of that stamp: see ``Sight.mark``."""
        return self._say(*self.sight.mark(u, v, stamp))

    # -- runs ------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a run has not come back yet."""
        return any(run is not None and not run.ended.is_set() for run in (self._dry, self._moved))

    @property
    def reviewed(self) -> bool:
        """Whether a dry run towards the present goals was made to its end, from where the hand
        is now."""
        dry, reading = self._dry, self.link.inbox.latest
        if dry is None or self._moved is not None or reading is None or not dry.ended.is_set():
            return False
        began, here = dry.watch.start, reading.state
        if dry.outcome or dry.goals is not self.goals or began is None:
            return False
        moved, turned = apart(began[:6], here[:6])
        return bool(
            moved < SAME_PLACE_M and turned < SAME_TURN_RAD
            and abs(began[6] - here[6]) < SAME_CLOSEDNESS
        )

    def imagine(self) -> Answer:
        """Begin a dry run towards the goals."""
        return self._begin(False)

    def move(self) -> Answer:
        """Begin a run that moves the arm."""
        return self._begin(True)

    def _begin(self, moves: bool) -> Answer:
        with self._lock:
            against = self._against(moves)
            if against:
                return self._say(False, against)
            run = Run(moves, self.goals, Reins(self.link))
            said = "The arm is going to move." if moves else "Nothing moves: a dry run."
            answer = self._say(True, said)
            if moves:
                self._moved = run
                self.seen()  # whoever asked is there
                _start(self._look_for_operator, run)
            else:
                self._dry, self._moved = run, None
            _start(self._go, run)
        return answer

    def _against(self, moves: bool) -> str:
        """What is against a run; "" if nothing is."""
        if self.busy:
            return "The last run has not come back yet; if it never does, restart the page."
        if not self.goals:
            return "Capture a goal first."
        if moves and not self.reviewed:
            return "Look at a dry run towards these goals, from this place, first."
        try:
            self.link.inbox.check()
        except SafetyError as error:
            return f"The arm holds: {error}"
        return ""

    def _go(self, run: Run) -> None:
        try:
            (self.work.move if run.moves else self.work.imagine)(run.reins, run.goals, run.watch)
            run.reins.check()
            run.outcome = run.watch.fault
        except Exception as error:  # whatever it was, the operator must hear of it
            if not isinstance(error, SafetyError | ValueError | OSError):
                traceback.print_exc()
            run.outcome = str(error) or type(error).__name__
        finally:
            try:
                self.link.release()
            finally:
                self.note = run.told()
                run.ended.set()

    def _look_for_operator(self, run: Run) -> None:
        """Stop the arm when nobody looks at the page any more."""
        while not run.ended.is_set():
            if time.monotonic() - self._heard > self.absent_s:
                self.stop(f"No page was in sight for {self.absent_s:g} s")
                return
            run.ended.wait(WATCH_S)

    # -- what is shown ---------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that the page shows, as JSON takes it."""
        inbox, now = self.link.inbox, self.link.now()
        told, reading, stamp = state_of(inbox, now), inbox.latest, inbox.image_stamp
        dry, moved = self._dry, self._moved
        going = next((r for r in (moved, dry) if r and not r.ended.is_set()), None)
        shown = moved or dry
        return {
            "kind": told.kind, "text": told.text, "code": told.code, "do": told.do,
            "note": self.note, "alarm": self.alarm, "busy": going is not None,
            "moves": going is not None and going.moves, "reviewed": self.reviewed,
            "goals": [goal.name for goal in self.goals],
            "age_s": None if stamp is None else round(now - stamp, 3),
            "hand_m": None if reading is None else np.round(reading.state[:3], 4).tolist(),
            "hand": None if reading is None else self.sight.place(reading.state[:3]),
            "path": self.sight.places(dry.watch.way if dry else []),
            "way": self.sight.places(moved.watch.way if moved else []),
            "goal": self.sight.place(shown.watch.goal if shown else None),
            "lines": shown.watch.lines[-12:] if shown else [],
            "view": self.sight.told,
        }

    def close(self) -> None:
        """Stop the arm if a run goes on."""
        if self._moved is not None and not self._moved.ended.is_set():
            self.stop("The page was closed")


def _start(work: Callable[[Run], None], run: Run) -> None:
    threading.Thread(target=work, args=(run,), name="page run", daemon=True).start()
