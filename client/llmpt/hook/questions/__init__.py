"""What huggingface_hub asks a Hub, answered by the LAN where that is exact, or where the Hub does not answer.

`sessions` is the door in the library's own HTTP sessions; `router` decides who answers; `knowledge` is what the LAN has said, as
far as it is `trusted`.
"""
