# make check is the short set for everyday use; .ci/run is what CI runs.
LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: check test lint race cover fuzz bench build servers servers-stop integration

# Where make servers listens: make servers KAFKA_PORT=19092.
KAFKA_PORT = 9092
MONGO_PORT = 27017

check: test lint cover

build:
	go build -o bin/ ./cmd/...

test:
	go test ./...

lint:
	go vet ./...
	$(LINT) run

# What is pure has nothing that could race (architecture_test.go holds it to that); and two run the
# programs as processes, built without the detector.
race:
	go test -race $$(go list ./adapters/... ./cmd/... | grep -v -e /cmd/internal/endtoend -e /cmd/internal/compose)

# The domain is held to 95 % of its statements.
cover:
	@go test -coverprofile=.cover.out ./domain/... >/dev/null
	@go tool cover -func=.cover.out | awk '/^total:/ {sub("%","",$$3); printf "domain coverage %s %%\n", $$3; exit !($$3 + 0 >= 95)}'
	@rm -f .cover.out

fuzz:
	.ci/fuzz 10s

bench:
	go test -run '^$$' -bench . ./...

# A real Kafka and a database that speaks MongoDB's protocol, without containers.
servers:
	@.ci/servers/kafka .servers/kafka $(KAFKA_PORT)
	@.ci/servers/mongo .servers/mongo $(MONGO_PORT)

servers-stop:
	@.ci/servers/mongo down .servers/mongo
	@.ci/servers/kafka down .servers/kafka

# The tests that need real servers, on servers of their own.
integration:
	.ci/integration
