"""The story of a payment: Ada enrols a phone, and signs; each step can be told otherwise than it was."""

from typing import Any

from tests.documents.papers import new_id
from tests.verify.notary import Json, NoteKey, Phone, PublicLog, Signed, accept, new_user, payment, post, receipt


class Story:
    """What is in a log, which phones stand behind it, and which entries a receipt shows."""

    def __init__(self, phone: Phone | None = None) -> None:
        self.log = PublicLog(witnesses=[NoteKey("witness.example/w", 6)])
        for number in range(5):
            self.log.record("login", user=new_id(), session=f"{number}")
        self.phone = phone or Phone(new_user())
        self.phones = [self.phone]
        self.shown: list[int] = []
        while (sponsor := self.phones[-1].sponsor) is not None:
            self.phones.append(sponsor)

    def enrol(self) -> "Story":
        self.shown += [phone.enrol(self.log) for phone in reversed(self.phones)]
        return self

    def accept_and_post(self, signed: Signed, **changed: str | None) -> "Story":
        self.signed = signed
        self.shown += [accept(self.log, signed), post(self.log, signed, **changed)]
        return self

    def receipt(self) -> Json:
        self.log.record("login", user=new_id(), session="last")
        return receipt(self.log, self.signed, self.phones, self.shown)


def ada_pays(**changed: Any) -> Story:
    story = Story().enrol()
    return story.accept_and_post(payment(story.phone, **changed))
