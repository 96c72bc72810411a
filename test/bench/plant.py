"""The plant that `store` measures: devices with ten signals of kinds that plants have, a row every 10 s. Made by numpy from a
fixed seed; answers to its statements are computed here, from the arrays, independently of any database."""
import numpy

COLUMNS = 10
STEP_S = 10
START = 1_700_000_000 - 1_700_000_000 % 86400
# "computed" is what a PLC computes: REAL, that is 32 bits.
KINDS = ["quantised 0.1", "walk 0.01", "noise 0.1", "noise 0.001", "counter", "set point", "state", "computed", "level 0.25",
         "pressure 0.05"]


class Plant:
    def __init__(self, devices, steps, seed=1):
        rng = numpy.random.default_rng(seed)
        shape = (devices, steps)
        t = numpy.arange(steps) * STEP_S
        phase = rng.uniform(0, 6.28, (devices, 1))

        def steps_of(period, choices):
            change = rng.random(shape) < 1 / period
            change[:, 0] = True
            value = rng.choice(choices, shape)
            index = numpy.where(change, numpy.arange(steps), 0)
            return numpy.take_along_axis(value, numpy.maximum.accumulate(index, axis=1), axis=1)

        quantised = numpy.round(40 + 15 * numpy.sin(t / 1800 + phase) + rng.normal(0, 0.03, shape), 1)
        walk = numpy.round(rng.uniform(20, 90, (devices, 1)) + numpy.cumsum(rng.normal(0, 0.02, shape), axis=1), 2)
        state = steps_of(180, [0.0, 1.0, 2.0, 3.0])
        power = numpy.round(50 + 20 * numpy.sin(t / 700 + 2 * phase) + rng.normal(0, 2, shape), 1)
        self.devices, self.steps = devices, steps
        self.times = START + t
        self.columns = [
            quantised,
            walk,
            power,
            numpy.round(rng.normal(5, 0.02, shape), 3),
            numpy.cumsum(rng.integers(0, 4, shape), axis=1).astype(float),
            steps_of(360, [50.0, 62.5, 75.0, 80.0]),
            state,
            (power * walk / 97.0).astype(numpy.float32).astype(float),
            numpy.round((500 + numpy.cumsum(rng.normal(0, 0.3, shape), axis=1)) * 4) / 4,
            numpy.round(numpy.round((6 + 0.5 * numpy.sin(t / 400 + phase) + rng.normal(0, 0.04, shape)) * 20) / 20, 2),
        ]

    def names(self):
        return [f"d{device:05d}" for device in range(self.devices)]

    def bodies(self, style, rows=10_000):
        """Yields (bytes, rows): requests in order of time. style: "line" (Influx line protocol, seconds), "tsv"."""
        names, per = self.names(), max(1, rows // self.devices)
        for first in range(0, self.steps, per):
            last = min(first + per, self.steps)
            texts = [[list(map(repr, row)) for row in column[:, first:last].tolist()] for column in self.columns]
            lines = []
            for step in range(last - first):
                stamp = str(int(self.times[first + step]))
                for device, name in enumerate(names):
                    values = [text[device][step] for text in texts]
                    if style == "line":
                        fields = ",".join(f"f{c}={v}" for c, v in enumerate(values))
                        lines.append(f"sensors,device={name} {fields} {stamp}")
                    else:
                        lines.append("\t".join([stamp, name, *values]))
            yield ("\n".join(lines) + "\n").encode(), len(lines)

    # ---- answers, for rows with time < `to` ----

    def before(self, to):
        return int(numpy.searchsorted(self.times, to))

    def last(self, to):
        """{device: f0}"""
        at = self.before(to) - 1
        return dict(zip(self.names(), self.columns[0][:, at].tolist()))

    def by_minute(self, device, to):
        """{minute: avg(f0)} of the hour before `to`."""
        rows = (self.times >= to - 3600) & (self.times < to)
        minutes, values = self.times[rows] // 60 * 60, self.columns[0][device, rows]
        return {int(m): float(values[minutes == m].mean()) for m in numpy.unique(minutes)}

    def by_hour(self, to):
        """{(device, hour): [avg(f0) … avg(f4)]}"""
        n, answer = self.before(to), {}
        hours = self.times[:n] // 3600 * 3600
        for hour in numpy.unique(hours):
            means = [column[:, :n][:, hours == hour].mean(axis=1) for column in self.columns[:5]]
            for device, name in enumerate(self.names()):
                answer[name, int(hour)] = [float(mean[device]) for mean in means]
        return answer

    def above(self, to, column, limit):
        return int((self.columns[column][:, :self.before(to)] > limit).sum())

    def averages(self, to):
        n = self.before(to)
        return n * self.devices, [float(column[:, :n].mean()) for column in self.columns]
