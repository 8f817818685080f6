"""Draws panels of Grafana's dashboards, about as Grafana does."""
import io, math, re

import matplotlib
matplotlib.use("Agg")
from matplotlib import dates, font_manager, patches, pyplot, ticker
from PIL import Image

# The picture, in pixels. Grafana's rows are 38 pixels high, of which 8 are between panels.
WIDTH, UNIT, GAP, TOP = 1600, 31, 8, 46
# Colors of the PNG, which has a palette, so that it is small.
COLORS = 256

# Grafana's classic palette, and its names of colors.
PALETTE = ["#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642", "#CCA300",
           "#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477", "#B7DBAB", "#F4D598", "#70DBED", "#F9BA8F"]
NAMED = {"green": "#299C46", "red": "#D44A3A", "orange": "#ED8128", "yellow": "#E0B400", "blue": "#3274D9", "text": "#24292E",
         "transparent": "#FFFFFF", "gray": "#8E8E8E", "dark-red": "#C4162A", "super-light-blue": "#C0D8FF", "semi-dark-blue": "#3274D9"}
# Seconds; matplotlib counts days.
DAY = 86400
PAGE, PANEL, LINE, TEXT, FAINT = "#F4F5F5", "#FFFFFF", "#DCDEE1", "#24292E", "#6E7680"
# Sizes of texts, in points of 1/72 inch; an inch has 100 pixels.
TITLE, SMALL = 9, 7.5

# Suffixes of a number of a unit, and what each next one is the product of.
SCALES = {
    "none": ([""], 1000), "short": (["", " K", " Mil", " Bil"], 1000),
    "bytes": ([" B", " KiB", " MiB", " GiB", " TiB"], 1024), "decbytes": ([" B", " kB", " MB", " GB", " TB"], 1000),
    "Bps": ([" B/s", " kB/s", " MB/s", " GB/s"], 1000), "binBps": ([" B/s", " KiB/s", " MiB/s", " GiB/s"], 1024),
    "reqps": ([" req/s", "K req/s", "M req/s"], 1000), "ops": ([" ops/s", "K ops/s", "M ops/s"], 1000),
    "cps": ([" c/s", "K c/s", "M c/s"], 1000), "eps": ([" evt/s", "K evt/s"], 1000),
    "percentunit": (["%"], 1000), "percent": (["%"], 1000)}


def number(value, digits=3):
    """A number with so many digits, and without zeros that say nothing."""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def shown(value, unit, now=None):
    """A value as Grafana writes it, about."""
    if not math.isfinite(value):
        return "NaN"
    if unit == "s":
        for least, factor, suffix in [(86400, 86400, " days"), (3600, 3600, " hours"), (60, 60, " mins"), (1, 1, " s"),
                                      (1e-3, 1e-3, " ms"), (0, 1e-6, " µs")]:
            if abs(value) >= least and (value or least == 1):
                text = number(value / factor)
                return text + (suffix.rstrip("s") if text == "1" and len(suffix) > 3 else suffix)
        return "0 s"
    if unit == "dateTimeFromNow":
        ago = now - value / 1000
        return f"{round(ago)} seconds ago" if ago < 60 else f"{shown(ago, 's')} ago"
    if unit not in SCALES:
        raise NotImplementedError(f"the unit {unit}")
    suffixes, base = SCALES[unit]
    value = value * 100 if unit == "percentunit" else value
    place = 0
    while abs(value) >= base and place + 1 < len(suffixes):
        value, place = value / base, place + 1
    return number(value, 3 if place or abs(value) < 1000 else 15) + suffixes[place]


def marks(low, high, unit):
    """Where an axis has numbers: at round ones, of bytes at those that are round in MiB."""
    factor = 1024 ** max(0, int(math.log(max(high, 1), 1024))) if SCALES.get(unit, ([], 0))[1] == 1024 else 1
    return [mark * factor for mark in ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low / factor, high / factor)
            if low <= mark * factor <= high]


def settings(panel, series):
    """The defaults of a panel's fields, with what overrides say of a series."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    found = {**defaults, "custom": dict(defaults.get("custom", {}))}
    for override in panel.get("fieldConfig", {}).get("overrides", []):
        kind, option = override["matcher"]["id"], override["matcher"]["options"]
        if kind == "byName":
            fits = series.name == option
        elif kind == "byRegexp":
            fits = re.search(option.strip("/"), series.name)
        elif kind == "byFrameRefID":
            fits = series.reference == option
        else:
            raise NotImplementedError(f"an override {kind}")
        for each in override["properties"] if fits else []:
            place, _, name = each["id"].rpartition(".")
            (found["custom"] if place == "custom" else found)[name] = each["value"]
    return found


def mapped(value, setting):
    """The text and the color that mappings give a value."""
    for mapping in setting.get("mappings", []):
        if mapping["type"] == "value" and number(value, 15) in mapping["options"]:
            result = mapping["options"][number(value, 15)]
            return result.get("text"), result.get("color")
        if mapping["type"] == "range" and mapping["options"]["from"] <= value <= mapping["options"]["to"]:
            return mapping["options"]["result"].get("text"), mapping["options"]["result"].get("color")
    return None, None


def color_of(value, setting):
    color = None
    for step in setting.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return named(color or "text")


def named(color):
    return NAMED.get(color, color)


def compact(dashboard):
    """Panels that Grafana would move up, as nothing is above them; it does not leave holes."""
    moved, taken = [], set()
    def cells(at, y):
        return {(x, row) for x in range(at["x"], at["x"] + at["w"]) for row in range(y, y + at["h"])}
    for panel in sorted(dashboard["panels"], key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"])):
        at = panel["gridPos"]
        y = at["y"]
        while y > 0 and not cells(at, y - 1) & taken:
            y -= 1
        if y != at["y"]:
            moved.append(f"{panel['title']} from {at['y']} to {y}")
        taken |= cells(at, y)
        at["y"] = y
    return moved


class Picture:
    """A page of panels."""

    def __init__(self, dashboard, start, end, caption):
        self.start, self.end = start, end
        matplotlib.rcParams.update({"font.family": "DejaVu Sans", "font.size": SMALL, "axes.linewidth": 0.6})
        rows = max(at["y"] + at["h"] for at in (panel["gridPos"] for panel in dashboard["panels"]))
        self.height = TOP + rows * UNIT + GAP
        self.figure = pyplot.figure(figsize=(WIDTH / 100, self.height / 100), dpi=100, facecolor=PAGE)
        self.renderer = self.figure.canvas.get_renderer()
        self.text(2 * GAP, 22, dashboard["title"], size=14, weight="bold")
        self.text(WIDTH - 2 * GAP, 22, caption, color=FAINT, align="right")

    def text(self, x, y, text, size=SMALL, color=TEXT, align="left", **more):
        """A text whose middle is at a place, in pixels from the upper left."""
        self.figure.text(x / WIDTH, 1 - y / self.height, text, size=size, color=color, ha=align, va="center", **more)

    def width(self, text, size=SMALL, weight="normal"):
        return self.renderer.get_text_width_height_descent(text, font_manager.FontProperties(size=size, weight=weight), False)[0]

    def cut(self, text, width, **more):
        """A text that is cut off where there is no more room, as Grafana does it."""
        if self.width(text, **more) <= width:
            return text
        while text and self.width(text + "…", **more) > width:
            text = text[:-1]
        return text + "…"

    def axes(self, x, y, width, height):
        return self.figure.add_axes([x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height], facecolor="none")

    def rectangle(self, x, y, width, height, color, edge="none"):
        self.figure.add_artist(patches.Rectangle(
            (x / WIDTH, 1 - (y + height) / self.height), width / WIDTH, height / self.height,
            facecolor=color, edgecolor=edge, linewidth=0.8, zorder=-1))

    def panel(self, panel, series):
        """Draws a panel."""
        at = panel["gridPos"]
        unit = (WIDTH - GAP) / 24
        x, y = GAP + at["x"] * unit, TOP + at["y"] * UNIT
        width, height = at["w"] * unit - GAP, at["h"] * UNIT - GAP
        if panel["type"] == "row":
            count = len(panel["panels"])
            sign, more = ("▸", f"   ({count} panels)") if panel["collapsed"] else ("▾", "")
            return self.text(x, y + height / 2, f"{sign} {panel['title']}{more}", size=10, weight="bold")
        draw = {"timeseries": self.lines, "stat": self.stat, "table": self.table, "state-timeline": self.states}.get(panel["type"])
        if not draw:
            raise NotImplementedError(f"a panel {panel['type']}")
        self.rectangle(x, y, width, height, PANEL, LINE)
        title = self.cut(panel["title"], width - 40, size=TITLE, weight="bold")
        self.text(x + 10, y + 14, title, size=TITLE, weight="bold")
        if panel.get("description"):
            self.text(x + 16 + self.width(title, TITLE, "bold"), y + 14, "(i)", color=FAINT)
        series = [each for each in series if each.values]
        if not series:
            message = panel["fieldConfig"]["defaults"].get("noValue", "No data")
            return self.text(x + width / 2, y + height / 2 + 8, message, size=TITLE, color=FAINT, align="center")
        return draw(panel, series, (x + 10, y + 26, width - 20, height - 34))

    def stat(self, panel, series, box):
        x, y, width, height = box
        part = width / len(series)
        for place, each in enumerate(series):
            setting = settings(panel, each)
            value = each.values[-1][1]
            text, color = mapped(value, setting)
            middle = x + part * (place + 0.5)
            text = text or shown(value, setting.get("unit", "none"), self.end)
            size = 22
            while self.width(text, size, "bold") > part and size > 8:
                size -= 1
            if len(series) > 1:
                self.text(middle, y + 8, each.name, size=9, align="center")
            shift = 7 if len(series) > 1 else -4
            self.text(middle, y + height / 2 + shift, text, size=size, color=named(color) if color else color_of(value, setting),
                      weight="bold", align="center")

    def table(self, panel, series, box):
        x, y, width, height = box
        columns = sorted({name for each in series for name in each.labels})
        rename = {}
        for step in panel.get("transformations", []):
            if step["id"] != "organize":
                raise NotImplementedError(f"a transformation {step['id']}")
            excluded, order, rename = (step["options"].get(key, {}) for key in ("excludeByName", "indexByName", "renameByName"))
            columns = sorted((name for name in columns if not excluded.get(name)), key=lambda name: order.get(name, 99))
        each_width = width / max(1, len(columns))
        for place, name in enumerate(columns):
            left = x + place * each_width
            self.text(left, y + 10, self.cut(rename.get(name, name), each_width - 8), weight="bold", color=NAMED["blue"])
            for row, each in enumerate(series):
                if 34 + row * 20 < height:
                    self.text(left, y + 32 + row * 20, self.cut(each.labels.get(name, ""), each_width - 8))

    def legend(self, panel, names, box):
        """Draws a legend, as a list at the bottom or as a table at the right; returns the room that is left."""
        x, y, width, height = box
        options = panel["options"]["legend"]
        if not options["showLegend"]:
            return box
        if options["placement"] == "right":
            room = min(width * 0.4, 26 + max(self.width(name) for name, _ in names))
            for row, (name, color) in enumerate(names):
                if 16 * (row + 1) <= height:
                    self.entry(x + width - room + 12, y + 8 + row * 16, self.cut(name, room - 26), color)
            return x, y, width - room, height
        rows, used = [[]], 0
        for name, color in names:
            needed = 24 + self.width(name)
            if used and used + needed > width:
                rows.append([])
                used = 0
            rows[-1].append((used, name, color))
            used += needed
        # More of them have to be scrolled to.
        fit = max(1, int(height * 0.35 // 15))
        top = y + height - 15 * min(fit, len(rows))
        for row, entries in enumerate(rows[:fit]):
            for left, name, color in entries:
                self.entry(x + left, top + 8 + 15 * row, self.cut(name, width - 26), color)
        if len(rows) > fit:
            self.text(x + width, y + height - 7, f"▾ {len(rows) - fit} more lines", color=NAMED["red"], align="right")
        return x, y, width, top - y - 2

    def entry(self, x, y, name, color):
        self.rectangle(x, y - 1.5, 12, 3, color)
        self.text(x + 16, y, name)

    def lines(self, panel, series, box):
        names, drawn, below = [], [], {}
        for place, each in enumerate(series):
            setting = settings(panel, each)
            fixed = setting.get("color", {})
            color = named(fixed["fixedColor"]) if fixed.get("mode") == "fixed" else PALETTE[place % len(PALETTE)]
            names.append((each.name, color))
            drawn.append((each, setting, color))
        x, y, width, height = self.legend(panel, names, box)
        sides = {setting["custom"].get("axisPlacement") == "right" for _, setting, _ in drawn}
        left, right = 62, 62 if True in sides else 8
        axes = {False: self.axes(x + left, y + 4, width - left - right, height - 22)}
        if True in sides:
            axes[True] = axes[False].twinx()
        for each, setting, color in drawn:
            custom = setting["custom"]
            side = custom.get("axisPlacement") == "right" if False in sides else True
            stacked = custom.get("stacking", {}).get("mode", "none") == "normal"
            values = dict(each.values)
            times = [self.start + step * each.step for step in range(int((self.end - self.start) / each.step) + 1)]
            known = {round(at): value for at, value in values.items()}
            heights = [known.get(round(at), math.nan) for at in times]
            if stacked:
                base = [below.get(round(at), 0) for at in times]
                heights = [low + high for low, high in zip(base, heights)]
                below.update({round(at): high for at, high in zip(times, heights) if math.isfinite(high)})
            else:
                base = [0] * len(times)
            dashes = custom.get("lineStyle", {}).get("fill") == "dash"
            moments = [at / DAY for at in times]
            axis = axes[side]
            axis.plot(moments, heights, color=color, linewidth=custom.get("lineWidth", 1) * 1.1, linestyle="--" if dashes else "-",
                      marker="o" if sum(map(math.isfinite, heights)) == 1 else None, markersize=3)
            axis.fill_between(moments, base, heights, color=color, alpha=custom.get("fillOpacity", 0) / 100, linewidth=0)
        for side, axis in axes.items():
            owned = [setting for _, setting, _ in drawn if (setting["custom"].get("axisPlacement") == "right") == side] or [drawn[0][1]]
            self.finish(axis, owned[0], side)
        if not any(each.numbers() for each in series):
            self.text(x + width / 2, y + height / 2, "(not a number)", color=FAINT, align="center")

    def finish(self, axis, setting, right):
        axis.set_xlim(self.start / DAY, self.end / DAY)
        axis.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=6))
        axis.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
        low, high = axis.get_ylim()
        axis.set_ylim(setting.get("min", low), setting.get("max", high if high > setting.get("min", low) else 1))
        unit = setting.get("unit", "none")
        axis.yaxis.set_major_locator(ticker.FixedLocator(marks(*axis.get_ylim(), unit)))
        axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: shown(value, unit, self.end)))
        if not right:
            axis.grid(color=LINE, linewidth=0.5)
        axis.set_axisbelow(True)
        axis.tick_params(length=0, colors=FAINT, pad=4)
        for spine in axis.spines.values():
            spine.set_visible(False)

    def states(self, panel, series, box):
        """A bar for each series, with the times at which it had each value."""
        x, y, width, height = box
        label = 12 + max(self.width(each.name) for each in series)
        axis = self.axes(x + label, y + 4, width - label - 8, height - 22)
        for row, each in enumerate(series):
            setting = settings(panel, each)
            self.text(x + label - 8, y + 4 + (row + 0.5) * (height - 22) / len(series), each.name, align="right")
            for at, value in each.numbers():
                _, color = mapped(value, setting)
                color = named(color) if color else color_of(value, setting)
                if color != NAMED["transparent"]:
                    axis.broken_barh([(at / DAY, each.step / DAY)], (len(series) - row - 0.85, 0.7), facecolor=color, linewidth=0)
        self.finish(axis, {"min": 0, "max": len(series)}, False)
        axis.yaxis.set_ticks([])

    def save(self, file):
        """Writes the picture, with few colors."""
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", facecolor=PAGE)
        image = Image.open(drawn).convert("RGB")
        # The most frequent ones: Pillow's choices give pale areas or thin lines the colors of others.
        frequent = sorted(image.getcolors(image.width * image.height), reverse=True)[:COLORS]
        palette = Image.new("P", (1, 1))
        palette.putpalette([part for _, color in frequent for part in color])
        image = image.quantize(palette=palette, dither=Image.Dither.NONE)
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, optimize=True)
        return image.size
