package policy

// Backend keeps what was changed.
type Backend interface{}
