"""Counts what passed and what failed, and says so."""

from collections import Counter


class Report:
    """Results of the checks. What is not run is neither passed nor failed."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.not_run: Counter[str] = Counter()

    def check(self, ok: bool, what: str) -> bool:
        """One result; a failure is printed."""
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f"docs: FAILED {what}", flush=True)
        return ok

    def skip(self, why: str, where: str) -> None:
        self.not_run[f"{where}: {why}"] += 1

    def end(self) -> int:
        """Prints the last lines; the exit code."""
        if self.not_run:
            print(f"docs: {sum(self.not_run.values())} commands are not run here:")
            for why, times in self.not_run.items():
                print(f"docs:   {why}{f' ({times} blocks)' if times > 1 else ''}")
        print(f"docs: {self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0
