"""stub"""


class FaultKind: ...


class FaultyCRUD: ...
