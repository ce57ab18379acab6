"""Site rules that read the path. No I/O."""

from typing import ClassVar

from proxy.decision.path_patterns import SITE_MARK, PathPattern, SiteExample, shown_path
from proxy.decision.site_ids import name_by_id


class PathSiteRule:
    """A path template that contains the site's id. The first rule that matches a path names its site."""

    form: ClassVar[str] = f"path:/…/{SITE_MARK}/…"
    __slots__ = ("pattern", "template")

    def __init__(self, template: str) -> None:
        self.template = template
        self.pattern = PathPattern(template)
        if not self.pattern.names_site:
            raise ValueError(f"'path:{template}' does not name a site: write {SITE_MARK} in place of the site's id")

    @classmethod
    def short(cls, template: str) -> "PathSiteRule":
        return cls(template)

    def written(self) -> str:
        return f"path:{self.template}"

    def describe(self) -> str:
        return f"in the path `{shown_path(self.template)}`"

    def example(self, root: str) -> SiteExample:
        return SiteExample(self.template.removesuffix("**"))

    def read(self, reading: str, *, lenient: bool) -> str | None:
        """Return the site that a reading of a path names, or None."""
        match = self.pattern.match(reading, lenient=lenient)
        return name_by_id(match[1]) if match else None
