"""The full-screen view, with textual: keys as htop and lazygit have them; usable at 80 x 24."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Click
from textual.widgets import Input, Static

from photonlink.pipeline.top.model import Model
from photonlink.pipeline.top.screen import (
    PANES,
    SORTS,
    Choice,
    head,
    link_rows,
    pane,
    shown_links,
    situation,
)

REFRESH_S = 0.5
HELP = """\
up down  k j    choose a link, or move the pane
1 2 3 4  [ ]    panes: link, instruments, alarms, log (also Tab)
PgUp PgDn       move the pane by its height
e               unfold equal instruments, or fold them
/               filter links; Esc takes the filter back
s  F6           order of links: state, name, key rate
q  F10  Ctrl-C  stop: a node turns its light off and reads it back
?  F1           these keys
"""


class TopApp(App[None]):
    """Shows a model until it is asked to exit. ``stop`` is called once by q; none: q ends the
    app.
    """

    TITLE = "photonlink top"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # the filter takes keys only while it is open
    CSS = """
    Screen { background: ansi_default; color: ansi_default; }
    #head, #keys { height: 1; }
    #keys { color: $text-muted; }
    #situation { height: auto; max-height: 6; }
    #links { height: auto; border-bottom: solid $surface-lighten-2; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.open { display: block; }
    #scroll { height: 1fr; }
    #help { display: none; height: auto; border: round $primary; padding: 0 1; }
    #help.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,f10,ctrl+c,ctrl+q", "stop", priority=False),
        Binding("ctrl+c", "stop", priority=True),
        Binding("j,down", "choose(1)"),
        Binding("k,up", "choose(-1)"),
        Binding("1", "pane(0)"),
        Binding("2", "pane(1)"),
        Binding("3", "pane(2)"),
        Binding("4", "pane(3)"),
        Binding("right_square_bracket,tab", "turn(1)"),
        Binding("left_square_bracket,shift+tab", "turn(-1)"),
        Binding("pagedown,space", "page(1)"),
        Binding("pageup", "page(-1)"),
        Binding("e", "unfold"),
        Binding("s,f6", "sort"),
        Binding("slash", "filter"),
        Binding("question_mark,f1,h", "help"),
        Binding("escape", "escape"),
    ]

    def __init__(self, model: Model, stop: Callable[[], None] | None = None) -> None:
        super().__init__(ansi_color=True)  # the terminal's own colours
        self.model, self.choice = model, Choice()
        self._stop = stop
        self._drawn: tuple[Any, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        yield Static(id="situation")
        yield Static(id="links")
        yield Input(placeholder="filter links", id="filter")
        with VerticalScroll(id="scroll", can_focus=False):
            yield Static(id="pane")
        yield Static(HELP, id="help", markup=False)
        yield Static(id="keys")

    def on_mount(self) -> None:
        self.draw()
        self.set_interval(REFRESH_S, self.draw)

    def on_resize(self) -> None:
        self.draw()

    def draw(self) -> None:
        """Redraw everything after anything that may change it: a message, a key press, a second."""
        width, height = self.size
        seen = (self.model.changes, int(self.model.clock()), width, height, repr(self.choice))
        if seen == self._drawn or not width:
            return
        self._drawn = seen
        links = list(shown_links(self.model, self.choice))
        if self.choice.link not in links:
            self.choice.link = links[0] if links else ""
        many = len(self.model.board.links()) > 1
        rows = link_rows(self.model, self.choice, *self._list_size()) if many else []
        self._put("head", [head(self.model, width)])
        self._put("situation", situation(self.model, self.choice, width, 3 if many else 5))
        self.query_one("#links", Static).display = bool(rows)
        self._put("links", [line for _, line in rows])
        self._put("pane", pane(self.model, self.choice, width - 2))  # room for the scroll bar
        self._put("keys", [self._keys(width)])

    def _put(self, name: str, lines: list[Text]) -> None:
        self.query_one(f"#{name}", Static).update(Text("\n").join(lines))

    def _keys(self, width: int) -> Text:
        line = Text(no_wrap=True)
        for i, name in enumerate(PANES):
            line.append(f"{i + 1} {name} ", "reverse" if name == self.choice.pane else "")
        line.append(
            f" s order: {self.choice.sort}  / {self.choice.filter or 'filter'}  ? keys  q stop"
        )
        line.truncate(width)
        return line

    # ---- keys ----

    def action_choose(self, by: int) -> None:
        links = list(shown_links(self.model, self.choice))
        if len(self.model.board.links()) < 2 or self.choice.link not in links:
            self.query_one("#scroll", VerticalScroll).scroll_relative(y=by, animate=False)
            return
        at = min(max(links.index(self.choice.link) + by, 0), len(links) - 1)
        self.choice.link = links[at]
        self.draw()

    def action_pane(self, number: int) -> None:
        self.choice.pane = PANES[number]
        self.query_one("#scroll", VerticalScroll).scroll_home(animate=False)
        self.draw()

    def action_turn(self, by: int) -> None:
        self.action_pane((PANES.index(self.choice.pane) + by) % len(PANES))

    def action_page(self, by: int) -> None:
        scroll = self.query_one("#scroll", VerticalScroll)
        scroll.scroll_relative(y=by * max(scroll.size.height - 1, 1), animate=False)

    def action_unfold(self) -> None:
        self.choice.unfolded = not self.choice.unfolded
        self.action_pane(PANES.index("instruments"))

    def action_sort(self) -> None:
        self.choice.sort = SORTS[(SORTS.index(self.choice.sort) + 1) % len(SORTS)]
        self.draw()

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def on_input_changed(self, changed: Input.Changed) -> None:
        self.choice.filter = changed.value.lower()
        self.draw()

    def on_input_submitted(self) -> None:
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).remove_class("open")
        self.set_focus(None)

    def action_help(self) -> None:
        self.query_one("#help").toggle_class("open")

    def action_escape(self) -> None:
        field = self.query_one("#filter", Input)
        if self.query_one("#help").has_class("open"):
            self.action_help()
        elif field.has_class("open") or self.choice.filter:
            field.value = ""
            self._close_filter()
        else:
            self.action_pane(0)

    def on_click(self, event: Click) -> None:
        """Choose the clicked link."""
        if event.widget is not None and event.widget.id == "links":
            rows = link_rows(self.model, self.choice, *self._list_size())
            if 0 <= event.y < len(rows):
                self.choice.link = rows[event.y][0]
                self.draw()

    def _list_size(self) -> tuple[int, int]:
        return self.size.width, max(3, self.size.height // 4)

    def action_stop(self) -> None:
        if self._stop is None:
            self.exit()
        elif not self.choice.ended:
            self.choice.ended = "stopping: light off, read back"
            self.draw()
            self._stop()
