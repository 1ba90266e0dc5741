package replay

import (
	"fmt"
	"strings"

	"evcharging/adapters/mongo"
)

// documentText says in lines how a document is not as the log has it: how it is, or how it was
// before it was made so.
func documentText(d mongo.Difference, is bool) string {
	verb, removed, stays := "is", "", ""
	if !is {
		verb, removed, stays = "was", ", and it is removed", ", and stays as it is"
	}
	text := fmt.Sprintf("MongoDB, %s %s: ", d.Collection, d.ID)
	switch d.Kind {
	case mongo.DocumentMissing:
		return text + "the document " + verb + " missing"
	case mongo.DocumentOrphaned:
		return text + "the log knows nothing of it" + removed
	case mongo.DocumentNewer:
		return text + "the document is newer than the log, and stays"
	}
	lines := []string{text + "the document " + verb + " not as the log has it"}
	if d.Kind == mongo.DocumentUnproved {
		lines[0] = text + "it has a bill that the log has not" + stays
	}
	for _, f := range d.Fields {
		lines = append(lines, "  "+f.String())
	}
	return strings.Join(lines, "\n")
}

// documentsSummary says how documents are that were compared with a log, in which nothing was
// found where it is whole.
func documentsSummary(c mongo.Rebuilt, whole bool) string {
	text := fmt.Sprintf("MongoDB: %s as the log has them", counted(c.Same, "document"))
	if c.Missing+c.Different+c.Orphaned > 0 {
		text += fmt.Sprintf("; %d are missing, %d say something else, %d are of nothing in the log", c.Missing, c.Different, c.Orphaned)
		if whole && c.Lost == 0 && len(c.Stale) == 0 && c.Unproved == 0 {
			text += " (ev-replay rebuild mends them)"
		} else {
			text += " (mend the log first: ev-replay rebuild makes them what it says)"
		}
	}
	if c.Unproved > 0 {
		text += fmt.Sprintf("; %s a bill that the log has not", have(c.Unproved))
	}
	if len(c.Stale) > 0 {
		text += fmt.Sprintf("; of %s nothing can be said, for the log is damaged", counted(staleDocuments(c), "stream"))
	}
	if c.Unsure > 0 {
		text += fmt.Sprintf("; %d may be of what the log has lost", c.Unsure)
	}
	return text
}

// staleDocuments is how many documents could not be made.
func staleDocuments(r mongo.Rebuilt) (n int) {
	for _, some := range r.Stale {
		n += some
	}
	return n
}

// rebuiltSummary says in lines what a rebuild has done.
func rebuiltSummary(r mongo.Rebuilt, c Config) (lines []string) {
	replayed := "replayed " + counted(r.Events, "event")
	if r.Commits > 0 { // they are not counted for one document
		replayed += " of " + counted(r.Commits, "commit")
	}
	changed := fmt.Sprintf("MongoDB: %s unchanged", counted(r.Same, "document"))
	if r.Missing+r.Different > 0 {
		changed += fmt.Sprintf("; %s %d that were missing, %d that were behind or said something else", would("written", c), r.Missing, r.Different)
	}
	if r.Orphaned > 0 {
		changed += fmt.Sprintf("; %s %d of which the log knows nothing", would("removed", c), r.Orphaned)
	}
	lines = []string{replayed, changed}
	if r.Newer > 0 {
		lines = append(lines, fmt.Sprintf("%s newer than the log and stayed as they were: a Central goes on, or the log is an old one", are(r.Newer)))
	}
	if r.Unproved > 0 {
		lines = append(lines, have(r.Unproved)+" a bill that the log has not: nothing is changed there")
	}
	if r.Unsure > 0 {
		why := "what it may lack by now could be about them"
		if r.Unproved+uint64(r.Lost+r.Stale["damaged"]) > 0 {
			why = "what is lost, or can't be read, of it could be about them"
		}
		lines = append(lines, fmt.Sprintf("%s unknown to the log and stayed as they were: %s", are(r.Unsure), why))
	}
	return append(lines, fmt.Sprintf("digest of the %s that the log gives: %s", counted(r.Documents, "document"), r.Digest))
}

func would(done string, c Config) string {
	if c.DryRun {
		return "it would have " + done
	}
	return done
}

func have(n uint64) string {
	if n == 1 {
		return "1 document has"
	}
	return fmt.Sprintf("%d documents have", n)
}

func are(n uint64) string {
	if n == 1 {
		return "1 document is"
	}
	return fmt.Sprintf("%d documents are", n)
}
