// Package session is the aggregate Session: one request for a supply, from the
// answer to the ticket and its revisions. Each command is a file.
//
// Which input is ignored (and counted), and which is refused (to the dead-letter
// topic, and counted), for both aggregates; each row has a test of its name:
//
//	Input                                             Error                              What is done
//	registration, older than the known one            chargingpoint.ErrNotLater          ignored
//	registration that says nothing new                chargingpoint.ErrUnchanged         ignored
//	registration without a valid or a newer proof     chargingpoint.ErrProof             refused
//	health report, older than the last heard          chargingpoint.ErrNotLater          ignored
//	health report that says nothing new               chargingpoint.ErrUnchanged         a sign of life and no more
//	stop or resume, older than the last               chargingpoint.ErrNotLater          ignored
//	stop, resume or price, true already               chargingpoint.ErrUnchanged         ignored
//	stop, resume or price of an unknown point         chargingpoint.ErrUnknownPoint      refused
//	price change, where 100 are to come before it     chargingpoint.ErrScheduleFull      refused
//	request that a point can't be granted for         chargingpoint.Refusal              the refusal is the answer
//	request that was answered                         ErrAlreadyAnswered                 the first answer again
//	figure that is no number                          domain.ErrNotANumber               refused
//	figure, negative or beyond its limit              domain.ErrOutOfRange               refused
//	id of another form                                domain.ErrID                       refused
//	sample or done of an unknown session              ErrUnknownSession                  refused
//	sample or done of another point's session         ErrForeignPoint                    refused
//	sample or done with another driver                ErrForeignDriver                   refused
//	sample, repeated, late or out of order            ErrNotNewer                        ignored
//	sample with less energy than before               ErrRunsBackwards                   ignored
//	sample whose amount gives an absurd energy        domain.ErrOutOfRange               refused
//	sample or done by a clock that can't be right     –                                  taken, at the record's time
//	sample of a closed session                        ErrClosed                          ignored; a stop again where it came late
//	stop again, less than 10 s after the last stop    chargingpoint.ErrStopRecent        ignored
//	stop again, while another session is there        chargingpoint.ErrNotOccupiedBy     ignored
//	done of a closed session, no more than billed     ErrClosed                          ignored
//	done of a closed session, more than billed        –                                  the ticket is revised
//	deadline that does not stand any more             ErrDeadlineGone                    ignored
//	lease that does not stand any more                chargingpoint.ErrDeadlineGone      ignored
//	scheduled price that does not stand any more      chargingpoint.ErrDeadlineGone      ignored
//	second cause of an end                            ErrAlreadyEnding                   ignored
package session
