package domain_test

import (
	"errors"
	"strings"
	"testing"

	"evcharging/domain"
)

func TestCheckID(t *testing.T) {
	for _, id := range []domain.PointID{"A", "CP-001", "a.b_c:d-9", domain.PointID(strings.Repeat("x", 64))} {
		if err := domain.CheckID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []domain.DriverID{
		"", " ", "D 7", "D-7\n", "\nD-7", "D/7", "Jörg", "D\x00", "\xff", "{}", domain.DriverID(strings.Repeat("x", 65)),
	} {
		if err := domain.CheckID(id); !errors.Is(err, domain.ErrID) {
			t.Errorf("%q: got %v, want %v", id, err, domain.ErrID)
		}
	}
}

func TestCheckIDQuotesNoMoreThanItMust(t *testing.T) {
	err := domain.CheckID(domain.PointID(strings.Repeat("x", 1<<20)))
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("got %v", err)
	}
}
