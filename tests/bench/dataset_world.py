"""A generated log of any size: Zipf-popular items, log-normal histories, planted interests, sorted by time.

Every user has one to four groups of items as interests and follows one of them for a month; an event stays within it
with a probability of .8. An item's title names its group. The same size and seed give the same bytes: whatever is drawn
for an event is a hash of its user and time, so no draw depends on how the log is cut into parts.

Memory: 8 bytes an event for the order of the log, and the parts in work (under 2 GB for 100 million events).
Shapes: E events, U users, n events of one part.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

PART = 1_000_000
"""Events of one part, which is one row group."""
BEGIN, DAYS = 1_672_531_200, 1096  # 2023-01-01, three years
DAY = 86_400
MONTH = 30 * DAY
MIN_LENGTH = 3
SIGMA = 1.2
"""Deviation of the logarithm of a history's length."""
MAX_INTERESTS = 4
FOLLOWS = 0.8
"""Probability that an event is within the user's interest of that month."""
TIED = 0.08
"""Probability that an event has the same time as the user's event before it."""
GROUP_SIZE = 200
_DIGITS = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", np.uint8)


@dataclass(frozen=True)
class World:
    """`events` events. By default a tenth as many users, and items as at a real shop: 200 thousand at 10 million
    events, a million at 100 million."""

    events: int
    seed: int = 2026
    num_users: int = 0
    num_items: int = 0

    @property
    def users(self) -> int:
        return self.num_users or max(1, self.events // 10)

    @property
    def items(self) -> int:
        return self.num_items or max(10, round(200_000 * (self.events / 1e7) ** np.log10(5)))

    @property
    def groups(self) -> int:
        """Item `i` is in group `i % groups`, with rank `i // groups`."""
        return max(5, self.items // GROUP_SIZE)

    def lengths(self) -> np.ndarray:
        """Events of every user [U]: at least three, log-normal beyond, `events` in all."""
        rng = np.random.default_rng([self.seed, 0])
        beyond = rng.lognormal(0, SIGMA, self.users)
        beyond *= (self.events - MIN_LENGTH * self.users) / beyond.sum()
        lengths = MIN_LENGTH + beyond.astype(np.int64)
        lengths[rng.permutation(self.users)[: self.events - int(lengths.sum())]] += 1
        return lengths

    @cached_property
    def log(self) -> np.ndarray:
        """The log [E], uint64: seconds since BEGIN in the upper half, the user in the lower one, sorted."""
        lengths = self.lengths()
        ends = np.cumsum(lengths)
        log = np.empty(self.events, np.uint64)
        first = 0
        while first < self.users:  # as many users as have the events of one part
            last = max(first + 1, int(np.searchsorted(ends, ends[first] - lengths[first] + PART)))
            events = slice(ends[first] - lengths[first], ends[last - 1])
            log[events] = self._events_of(np.arange(first, last), lengths[first:last])
            first = last
        log.sort()
        return log

    def _events_of(self, users: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """A user comes on some day, stays for some time, and has some events at once."""
        rng = np.random.default_rng([self.seed, 1, int(users[0])])
        total, whole = int(lengths.sum()), DAYS * DAY
        stay = np.minimum(rng.exponential(whole / 4, len(users)), whole) + DAY
        arrival = rng.random(len(users)) * np.maximum(whole - stay, 0)
        seconds = np.repeat(arrival, lengths) + rng.random(total) * np.repeat(np.minimum(stay, whole), lengths)
        tied = rng.random(total) < TIED
        tied[np.cumsum(lengths) - lengths] = False
        leader = np.maximum.accumulate(np.where(tied, 0, np.arange(total)))
        return seconds[leader].astype(np.uint64) << np.uint64(32) | np.repeat(users, lengths).astype(np.uint64)

    def interests(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Groups of these users [n, MAX_INTERESTS], and how many of the first ones each has [n]. The share of group g
        is about proportional to g ** -.5."""
        count = 1 + (uniform(users, 2, self.seed) * MAX_INTERESTS).astype(np.int64)
        drawn = np.stack([uniform(users, 3 + number, self.seed) for number in range(MAX_INTERESTS)], 1)
        return (drawn * drawn * self.groups).astype(np.int64), count

    def rows(self, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """User [n], item [n] and seconds since 1970 [n] of these events of the log."""
        part = self.log[begin:end]
        user, second = (part & np.uint64(0xFFFFFFFF)).astype(np.int64), (part >> np.uint64(32)).astype(np.int64)
        return user, self._items_of(user, second, part, begin), BEGIN + second

    def _items_of(self, user: np.ndarray, second: np.ndarray, part: np.ndarray, begin: int) -> np.ndarray:
        """Within the user's interest of that month, or anywhere. The share of the item of rank r, from 1, is about
        proportional to r ** -.8. Events at one time take one rank after the other of one group: no item twice."""
        groups, count = self.interests(user)
        turn = (uniform(user * 64 + second // MONTH, 10, self.seed) * count).astype(np.int64)
        anywhere = (uniform(part, 11, self.seed) * self.groups).astype(np.int64)
        follows = uniform(part, 12, self.seed) < FOLLOWS
        group = np.where(follows, groups[np.arange(len(user)), turn], anywhere)
        size = (self.items - group - 1) // self.groups + 1
        root = 1 + uniform(part, 13, self.seed) * ((size + 1) ** 0.2 - 1)  # the integral of r ** -.8, inverted
        square = root * root
        rank = (square * square * root).astype(np.int64) - 1
        return (rank + self._place_in_tie(part, begin)) % size * self.groups + group

    def _place_in_tie(self, part: np.ndarray, begin: int) -> np.ndarray:
        """How many events before each one have its user and time [n]; a part may begin within such events."""
        index = np.arange(len(part))
        leads = np.concatenate([[True], part[1:] != part[:-1]])
        before = begin - int(np.searchsorted(self.log, part[0]))
        place = index - np.maximum.accumulate(np.where(leads, index, 0))
        place[: int(np.argmin(part == part[0])) or len(part)] += before
        return place


def uniform(values: np.ndarray, salt: int, seed: int) -> np.ndarray:
    """Numbers in [0, 1) that depend on these integers only: the output function of splitmix64."""
    mixed = values.astype(np.uint64) + np.uint64((seed * 64 + salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ mixed >> np.uint64(31)) >> np.uint64(11)) / 2.0**53


def user_ids(users: np.ndarray) -> pa.Array:
    """A text of 14 letters and digits for each user; no two users have the same."""
    # An odd factor permutes the 64-bit numbers, and 13 digits to base 36 hold any of them.
    return _texts(b"A", (users.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15), 13)


def item_ids(items: np.ndarray) -> pa.Array:
    """A text of 10 letters and digits for each item; no two items have the same."""
    # The factor has neither 2 nor 3 as a divisor: it permutes the numbers below 36 ** 8.
    return _texts(b"B0", (items.astype(np.uint64) + np.uint64(1)) * np.uint64(1_500_450_271) % np.uint64(36**8), 8)


def _texts(prefix: bytes, numbers: np.ndarray, digits: int) -> pa.Array:
    width = len(prefix) + digits
    letters = np.empty((len(numbers), width), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix, np.uint8)
    for place in range(width - 1, len(prefix) - 1, -1):
        numbers, digit = np.divmod(numbers, np.uint64(36))
        letters[:, place] = _DIGITS[digit]
    ends = np.arange(len(letters) + 1, dtype=np.int32) * np.int32(width)
    return pa.StringArray.from_buffers(len(letters), pa.py_buffer(ends), pa.py_buffer(letters))
