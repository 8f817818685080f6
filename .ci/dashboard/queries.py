"""A dashboard's queries, with its variables replaced as Grafana does, and Prometheus's answers."""
import json, math, re, urllib.error, urllib.parse, urllib.request

# Seconds between two scrapes. What Grafana calls the scrape interval of the data source.
SCRAPE = 2
# Seconds that a query may take.
LIMIT = 60
# The pixels of a panel as wide as the page. No line has more points.
WIDTH = 1600


class Refused(Exception):
    """Prometheus does not know what an expression means."""


class Source:
    """A Prometheus, and the time that the dashboard shows."""

    def __init__(self, url, start, end):
        self.url, self.start, self.end = url, start, end

    def ask(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=LIMIT) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise Refused(json.load(error).get("error", str(error))) from None

    def values(self, definition):
        """The values of a variable: of `label_values(METRIC, LABEL)`."""
        found = re.fullmatch(r"label_values\((.*), *(\w+)\)", definition)
        if not found:
            raise Refused(f"this script does not know {definition}")
        return self.ask(f"label/{found[2]}/values", **{"match[]": found[1], "start": self.start, "end": self.end})

    def series(self, target, variables, width):
        """The series of a target: labels, and values by time."""
        # As Grafana does: a value for each pixel at most, and none between two scrapes.
        step = max(math.ceil((self.end - self.start) / width), SCRAPE)
        variables = variables | {
            "__interval": f"{step}s", "__rate_interval": f"{max(step + SCRAPE, 4 * SCRAPE)}s",
            "__range": f"{round(self.end - self.start)}s"}
        expression = replaced(target["expr"], variables)
        if target.get("instant"):
            found = self.ask("query", query=expression, time=self.end)
            results = [(each["metric"], [each["value"]]) for each in found["result"]]
        else:
            found = self.ask("query_range", query=expression, start=self.start, end=self.end, step=step)
            results = [(each["metric"], each["values"]) for each in found["result"]]
        return [Series(target, labels, [(at, float(value)) for at, value in values], step) for labels, values in results]


def replaced(text, variables):
    def value(found):
        name = found[1] or found[2]
        if name not in variables:
            raise Refused(f"${name} is no variable of the dashboard")
        return variables[name]
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, text)


class Series:
    """What a line shows."""

    def __init__(self, target, labels, values, step):
        self.labels, self.values, self.step, self.reference = labels, values, step, target["refId"]
        legend = target.get("legendFormat") or ""
        self.name = re.sub(r"\{\{ *(\w+) *\}\}", lambda label: labels.get(label[1], ""), legend) or "Value"

    def numbers(self):
        return [(at, value) for at, value in self.values if math.isfinite(value)]


def panels(dashboard):
    """All panels, also of rows that are closed."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def asked(dashboard, source):
    """The series of each panel by its identifier, and what was refused."""
    variables, refused, answers = {}, [], {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            try:
                values = source.values(replaced(variable["definition"], variables))
                print(f"${variable['name']}: {', '.join(values) or 'NO VALUES'}")
            except Refused as error:
                refused.append(f"${variable['name']}: {error}")
        # The dashboard is shown as it opens: with all of them.
        variables[variable["name"]] = variable.get("allValue", variable.get("query"))
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            try:
                found = source.series(annotation | {"refId": "-"}, variables, WIDTH)
                print(f"annotation {annotation['name']}: {len(found)} series")
            except Refused as error:
                refused.append(f"annotation {annotation['name']}: {error}")
    for panel in panels(dashboard):
        answers[panel["id"]] = []
        if panel["type"] == "row":
            print(f"\n{panel['title']}")
            continue
        for target in panel.get("targets", []):
            try:
                answers[panel["id"]] += source.series(target, variables, WIDTH * panel["gridPos"]["w"] // 24)
            except Refused as error:
                refused.append(f"{panel['title']} ({target['refId']}): {error}")
        found = answers[panel["id"]]
        moving = sum(len({value for _, value in series.numbers()}) > 1 for series in found)
        empty = not any(series.numbers() for series in found)
        print(f"  {panel['title']}: {len(found)} series, {'EMPTY' if empty else f'{moving} of them change'}")
    return answers, refused
