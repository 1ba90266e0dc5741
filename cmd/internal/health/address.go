package health

import (
	"fmt"
	"net"
	"strconv"
)

// Off stands for no address.
const Off = "off"

// Address is the value of --http: host:port, where the host may be empty, or Off.
type Address string

// UnmarshalText takes host:port or Off.
func (a *Address) UnmarshalText(text []byte) error {
	*a = Address(text)
	if *a == Off {
		return nil
	}
	_, port, err := net.SplitHostPort(string(*a))
	if _, notAPort := strconv.ParseUint(port, 10, 16); err != nil || notAPort != nil {
		return fmt.Errorf("%q is no address (an address is host:port)", *a)
	}
	return nil
}

// Listen is the address to listen on; empty where there is none.
func (a Address) Listen() string {
	if a == Off {
		return ""
	}
	return string(a)
}
