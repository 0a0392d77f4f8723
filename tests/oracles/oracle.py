"""What the comparisons share: our program, the list of known differences, and the count."""

import collections
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


class Ours:
    """The Rust program that answers JSON lines with JSON lines."""

    def __init__(self, program, *arguments):
        self.command = [program, *map(str, arguments)]

    def ask(self, questions):
        """The answers to all questions, in their order."""
        lines = "".join(json.dumps(question, separators=(",", ":")) + "\n" for question in questions)
        done = subprocess.run(self.command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        if len(answers) != len(questions):
            sys.exit(f"{self.command}: {len(questions)} questions, but {len(answers)} answers")
        return answers


class Differences:
    """What we and an oracle disagree about, held against the rules of a file.

    A rule is one known difference: `subject` is a regular expression for the whole name of the
    model, or of the provider and API; `kind` is what the difference is; `about` names a
    dimension, a field or a parameter without which the difference does not exist; `count` is how
    many cases it covers. `why` says who is right, `document` by what.
    """

    FIELDS = {"oracle", "subject", "kind", "about", "count", "why", "document"}

    def __init__(self, oracle):
        self.path = HERE / "disagreements.json"
        self.all = json.loads(self.path.read_text("utf-8"))
        self.rules = [rule for rule in self.all if rule["oracle"] == oracle]
        for rule in self.rules:
            if set(rule) != self.FIELDS or not rule["why"] or not rule["document"]:
                sys.exit(f"a rule has exactly the fields {sorted(self.FIELDS)}: {rule}")
        self.patterns = [re.compile(rule["subject"]) for rule in self.rules]
        self.covered = collections.Counter()
        self.equal = 0
        self.unknown = []

    def rule(self, subject, kind, about):
        """The number of the first rule that covers a difference about one of `about`."""
        for number, (rule, pattern) in enumerate(zip(self.rules, self.patterns)):
            if rule["kind"] == kind and rule["about"] in about and pattern.fullmatch(subject):
                return number
        return None

    def add(self, subject, kind, about, what):
        """Counts a difference, or notes that no rule covers it."""
        number = self.rule(subject, kind, about)
        if number is None:
            self.unknown.append((subject, kind, sorted(about), what))
        else:
            self.covered[number] += 1

    def finish(self, title, update=False):
        """Prints the count. Ends the program with 1 where a difference is new, gone or moved."""
        wrong = 0
        for number, rule in enumerate(self.rules):
            if update:
                rule["count"] = self.covered[number]
            if self.covered[number] != rule["count"] or not self.covered[number]:
                wrong += 1
                print(f"rule {rule['subject']} {rule['kind']} {rule['about']}: expected "
                      f"{rule['count']} cases, there are {self.covered[number]}")
        # One example of each kind of difference says more than the first forty of one kind.
        examples = {}
        for subject, kind, about, what in self.unknown:
            key = (kind, *about) if len(about) < 5 else (kind, "many")
            examples.setdefault(key, []).append((subject, what))
        for (kind, *about), found in sorted(examples.items(), key=lambda item: -len(item[1]))[:20]:
            subjects = sorted({subject for subject, _ in found})
            print(f"new: {len(found)} cases {kind} {about} of {subjects[:8]}, such as: {found[0][1][:600]}")
        if update:
            self.path.write_text(json.dumps(self.all, indent=2, ensure_ascii=False) + "\n", "utf-8")
        print(f"{title}: {self.equal} equal, {sum(self.covered.values())} differ by "
              f"{len(self.rules)} listed reasons, {len(self.unknown)} new")
        if wrong or self.unknown:
            sys.exit(1)
