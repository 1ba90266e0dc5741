package eventjson

import "fmt"

// Names are the names and versions that the table has: those that are written, and those
// that are only read any more.
func Names() (written, read []string) {
	for n, e := range byName {
		name := fmt.Sprintf("%s %d", n.Type, n.Version)
		if e.encode != nil {
			written = append(written, name)
		} else {
			read = append(read, name)
		}
	}
	return written, read
}
