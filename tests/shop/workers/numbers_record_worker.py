import os
import time

from mydjangoapp.events import Message, Worker, action, option


class NumbersRecordWorker(Worker):
    """Writes each number down."""

    to = option("--to", help="file", required=True)
    pause = option("--pause", type=float, default=0.0, help="seconds a number takes")
    timeout = 2.0

    def start(self) -> None:
        self.file = os.open(self.to, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @action("number")
    def write_handler(self, message: Message) -> None:
        time.sleep(self.pause)
        os.write(self.file, f"{message.body['n']}\n".encode())

    def stop(self) -> None:
        os.close(self.file)
