from mydjangoapp.events import Message, Worker, action, option


class PhotosSearchWorker(Worker):
    """Puts photos into an index."""

    index = option("--index", default="main", help="index to write to")

    @action("photo.published")
    def index_handler(self, message: Message) -> None:
        with open(self.index, "a") as file:
            file.write(f"{message.body['id']}\n")
