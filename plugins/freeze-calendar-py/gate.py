"""The gate freeze-calendar in Python: the same parameters, verdicts and cases as the one in Rust.

The classes come from wit/gate.wit by componentize-py. Everything is imported here at the top:
there are no files to import from when the gate runs. The build puts the schema into `schema.py`.
"""

import json
from datetime import date, datetime, timedelta

from componentize_py_types import Err
from schema import SCHEMA
from wit_world import WitWorld as World
from wit_world.imports import wall_clock
from wit_world.imports.types import Description, Hold, Verdict_Hold, Verdict_Pass

DEFAULTS = {
    "utc_offset": "+00:00",
    "summer_time": "none",
    "days": ["mon", "tue", "wed", "thu", "fri"],
    "from": "09:00",
    "to": "17:00",
    "freezes": [],
}
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1)
MS_A_MINUTE = 60_000


class WitWorld(World):
    """What the component exports."""

    def describe(self):
        return Description(name="freeze-calendar-py", version="1.0.0", params_schema=SCHEMA)

    def evaluate(self, call):
        try:
            calendar = Calendar({**DEFAULTS, **json.loads(call.params)})
        except ValueError as error:
            raise Err(f"parameters: {error}") from None
        now_ms = int(wall_clock.now_ms())
        minute = now_ms // MS_A_MINUTE
        reason = calendar.closed_at(EPOCH + minute * MINUTE)
        if reason is None:
            return Verdict_Pass()
        wait = 60 * MS_A_MINUTE
        for later in range(minute + 1, minute + 61):
            if calendar.closed_at(EPOCH + later * MINUTE) is None:
                wait = later * MS_A_MINUTE - now_ms
                break
        return Verdict_Hold(Hold(reason=reason, retry_after_ms=min(max(wait, 1_000), 3_600_000)))


class Calendar:
    """When a rollout may go on."""

    def __init__(self, params):
        self.offset = minutes(params["utc_offset"]) * MINUTE
        self.summer_time = params["summer_time"]
        self.days = params["days"]
        self.begins, self.ends = params["from"], params["to"]
        self.freezes = []
        for freeze in params["freezes"]:
            first = day(freeze["from"])
            last = day(freeze.get("to", freeze["from"]))
            if last < first:
                raise ValueError("a freeze ends before it begins")
            self.freezes.append((first, last, freeze.get("reason")))

    def offset_at(self, utc):
        """The difference to UTC at a time of UTC."""
        standard = utc + self.offset
        year = standard.year
        is_summer = False
        if self.summer_time == "eu":
            is_summer = sunday_from(year, 3, 25) + HOUR <= utc < sunday_from(year, 10, 25) + HOUR
        elif self.summer_time == "us":
            begins, ends = sunday_from(year, 3, 8) + 2 * HOUR, sunday_from(year, 11, 1) + HOUR
            is_summer = begins <= standard < ends
        return self.offset + HOUR if is_summer else self.offset

    def closed_at(self, utc):
        """Why nothing goes on at a time of UTC; None if it may."""
        offset = self.offset_at(utc)
        local = utc + offset
        today, time = local.date(), local.strftime("%H:%M")
        for first, last, reason in self.freezes:
            if first <= today <= last:
                until = f"frozen until the end of {last.isoformat()}"
                return f"{until}: {reason}" if reason else until
        opened_on = None
        if self.begins < self.ends:
            if self.begins <= time < self.ends:
                opened_on = today
        elif time >= self.begins:
            opened_on = today
        elif time < self.ends:
            opened_on = today - timedelta(days=1)
        if opened_on and weekday(opened_on) in self.days:
            return None
        sign, size = ("-", -offset) if offset < timedelta() else ("+", offset)
        return (
            f"outside of the hours {self.begins} to {self.ends} on {' '.join(self.days)}: "
            f"it is {weekday(today)} {time}, UTC{sign}{size // HOUR:02}:{size % HOUR // MINUTE:02}"
        )


def weekday(of):
    """The day of the week as it is written in the parameters."""
    return WEEKDAYS[of.weekday()]


def day(text):
    """A day of the calendar."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no day {text}") from None


def minutes(text):
    """`+HH:MM` or `-HH:MM` in minutes."""
    size = int(text[1:3]) * 60 + int(text[4:6])
    return -size if text[0] == "-" else size


def sunday_from(year, month, of_month):
    """The beginning of the first Sunday on or after a date."""
    first = datetime(year, month, of_month)
    return first + timedelta(days=6 - first.weekday())
