package driver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"evcharging/domain"
)

// MaxLines bounds a list of points.
const MaxLines = 10_000

var (
	// ErrEmptyList tells of a list that names no point.
	ErrEmptyList = errors.New("it names no charging point")
	// ErrLongList tells of a list with more than MaxLines points.
	ErrLongList = fmt.Errorf("it names more than %d charging points", MaxLines)
)

// LineError says which line of a list is wrong.
type LineError struct {
	// Line counts from 1.
	Line   int
	Reason error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap is the reason.
func (e *LineError) Unwrap() error { return e.Reason }

// ReadList reads points, one a line. Blank lines, and what follows a #, are ignored. It
// returns a *LineError for a line that is no id, ErrEmptyList, ErrLongList, or the
// reader's error.
func ReadList(r io.Reader) ([]domain.PointID, error) {
	var points []domain.PointID
	lines, n := bufio.NewScanner(r), 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "\ufeff"), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		point := domain.PointID(text)
		if err := domain.CheckID(point); err != nil {
			return nil, &LineError{n, err}
		}
		if len(points) == MaxLines {
			return nil, ErrLongList
		}
		points = append(points, point)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, &LineError{n + 1, domain.ErrID}
	case err != nil:
		return nil, err
	}
	if len(points) == 0 {
		return nil, ErrEmptyList
	}
	return points, nil
}
