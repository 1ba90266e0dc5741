package central

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"evcharging/domain"
)

// ErrSecrets tells of a secrets file that can't be read.
var ErrSecrets = errors.New("the secrets file has lines of a point's id, a space and its secret")

// secrets are the points' secrets.
type secrets map[domain.PointID]string

// Secret is central.Secrets'.
func (s secrets) Secret(point domain.PointID) (string, bool) {
	secret, ok := s[point]
	return secret, ok
}

// readSecrets reads a file of lines "id secret"; blank lines and lines from # on are
// passed over. It never prints a secret.
func readSecrets(path string) (secrets, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the secrets file: %w", err)
	}
	defer file.Close()
	all := secrets{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, secret, ok := strings.Cut(line, " ")
		secret = strings.TrimSpace(secret)
		if err := domain.CheckID(domain.PointID(id)); err != nil || !ok || secret == "" {
			return nil, fmt.Errorf("%w: line %d of %s is not one", ErrSecrets, n, path)
		}
		if _, twice := all[domain.PointID(id)]; twice {
			return nil, fmt.Errorf("%w: line %d of %s has %s a second time", ErrSecrets, n, path, id)
		}
		all[domain.PointID(id)] = secret
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the secrets file: %w", err)
	}
	return all, nil
}
