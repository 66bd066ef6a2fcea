import os
import signal

from mydjangoapp.events import Message, Worker, action, option


class NumbersPoisonWorker(Worker):
    """Writes each number down, and dies of the number 3, as by a bug in a C library."""

    to = option("--to", help="file", required=True)
    timeout = 1.0

    @action("number")
    def write_handler(self, message: Message) -> None:
        if message.body["n"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(self.to, "a") as file:
            file.write(f"{message.body['n']}\n")
