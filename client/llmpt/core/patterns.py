"""Patterns that name repos, as LLMPT_REPOS has them: `org/*`, `datasets/org/*`, `*` for all, `!org/secret` for none of them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from llmpt.core.errors import InvalidName
from llmpt.core.repo import RepoRef

MAX_PATTERN = 300
MAX_PATTERNS = 1000


@dataclass(frozen=True, slots=True)
class RepoPatterns:
    """Which repos are meant: those that one of `named` fits, but for those that one of `excluded` does."""

    named: tuple[str, ...]
    excluded: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: tuple[str, ...]) -> RepoPatterns:
        """Tell the two kinds apart."""
        excluded = tuple(pattern[1:] for pattern in patterns if pattern.startswith("!"))
        return cls(tuple(pattern for pattern in patterns if not pattern.startswith("!")), excluded)

    @classmethod
    def parse(cls, text: str) -> RepoPatterns:
        """Read patterns separated by commas or blanks. Raises `InvalidName` for what fits no repo's name."""
        patterns = tuple(text.replace(",", " ").split())
        if not patterns or len(patterns) > MAX_PATTERNS:
            raise InvalidName(f"1 to {MAX_PATTERNS} patterns of repos, such as org/* or datasets/org/name; * for all")
        for one in patterns:
            if len(one) > MAX_PATTERN or not one.isprintable() or not one.lstrip("!"):
                raise InvalidName(f"no pattern of a repo's name, such as org/* or datasets/org/name: {one!r:.120}")
        return cls.of(patterns)

    def naming(self, repo: RepoRef) -> str | None:
        """Return the pattern that names a repo; None when none does."""
        names = (str(repo), f"{repo.type}s/{repo.id}")
        return next((one for one in self.named if any(fnmatchcase(name, one) for name in names)), None)

    def excluding(self, repo: RepoRef) -> str | None:
        """Return the pattern that excludes a repo, in any spelling of its name; None when none does."""
        names = [name.lower() for name in (str(repo), repo.id, f"{repo.type}s/{repo.id}")]
        return next((one for one in self.excluded if any(fnmatchcase(name, one.lower()) for name in names)), None)

    def allows(self, repo: RepoRef) -> bool:
        """Say whether a repo is meant."""
        return self.excluding(repo) is None and self.naming(repo) is not None

    def __str__(self) -> str:
        return ",".join((*self.named, *(f"!{one}" for one in self.excluded)))


ALL_REPOS = RepoPatterns(("*",))
