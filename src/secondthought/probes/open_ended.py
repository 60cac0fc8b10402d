"""Things to write about, for probes that look at how a model writes rather than at whether it is right."""

from __future__ import annotations

from itertools import product

from secondthought.types import Task

SUBJECTS = (
    "elephants", "unicorns", "murlocs", "rivers", "trains", "bread", "volcanoes", "chess", "umbrellas", "whales", "clocks",
    "dragons", "gardens", "satellites", "cheese", "libraries", "storms", "robots", "violins", "deserts", "penguins", "bridges",
    "lanterns", "glaciers", "spiders", "castles", "oceans", "bicycles", "mirrors", "foxes", "islands", "coffee", "tigers",
    "mountains", "pirates", "honey", "telescopes", "cathedrals", "submarines", "butterflies", "markets", "wolves", "windmills",
    "carpets", "astronauts", "potatoes", "ghosts", "harbours", "snow", "kites", "owls", "tunnels", "pearls", "dinosaurs",
    "orchards", "engines", "shadows", "turtles", "maps", "thunder",
)  # fmt: skip
FORMS = (
    "Tell me something interesting about {subject}.", "Write a short story about {subject}.",
    "Write a short paragraph about {subject}.", "What comes to your mind when you think of {subject}?",
)  # fmt: skip


def open_ended(n: int, forms: tuple[str, ...] = FORMS) -> list[Task]:
    """So many requests: every subject in the first form, then in the next; after the last it begins again.

    >>> open_ended(2)[1].prompt[0].content
    'Tell me something interesting about unicorns.'
    """
    every = list(product(forms, SUBJECTS))
    return [
        Task.of(form.format(subject=subject), answer=[subject, k // len(every)], family="open_ended")
        for k in range(n) for form, subject in [every[k % len(every)]]
    ]  # fmt: skip
