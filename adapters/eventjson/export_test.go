package eventjson

import "fmt"

// Names are the names and versions that the table has.
func Names() (all []string) {
	for n := range byName {
		all = append(all, fmt.Sprintf("%s %d", n.Type, n.Version))
	}
	return all
}
