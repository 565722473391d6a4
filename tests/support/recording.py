"""A reporter that keeps what it was told."""

from dataclasses import dataclass, field

from emotion.console import Reporter


@dataclass(frozen=True)
class Recorder(Reporter):
    """Keeps messages, warnings, and what bars were told: ``(done, total)``."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    done: list[tuple] = field(default_factory=list)
    shows_bars: bool = False

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def bar(self, what: str, unit: str):
        return lambda done, total: self.done.append((done, total))
