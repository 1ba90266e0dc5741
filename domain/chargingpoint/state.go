package chargingpoint

// State is what is shown of a point: a view of independent facts, never stored.
type State string

// The states of contract.md, in the order in which the first that holds is taken.
const (
	Disconnected State = "DISCONNECTED"
	Broken       State = "BROKEN"
	OutOfOrder   State = "OUT_OF_ORDER"
	Supplying    State = "SUPPLYING"
	Activated    State = "ACTIVATED"
)
