package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config says where a broker listens and what it keeps.
type Config struct {
	// Addr is the host and port to listen on, such as 127.0.0.1:9092; port 0 takes any
	// that is free, an empty host is all of the machine's addresses.
	Addr string
	// AdvertisedHost is the name or address under which clients reach the broker. It may
	// be empty where Addr's host can be told to clients.
	AdvertisedHost string
	// Dir is the folder that everything is kept in, empty for none: then all is gone with
	// the process. One broker at a time uses a folder.
	Dir string
	// Logger gets what the broker has to say; nil for none.
	Logger *slog.Logger
}

// Broker is a running broker. Its methods may be called at the same time.
type Broker struct {
	cluster *kfake.Cluster
	folder  *os.File // nil without one
	addr    string
}

var (
	// ErrPortTaken tells that another program listens on the port.
	ErrPortTaken = errors.New("the port is taken")
	// ErrFolderInUse tells that another broker uses the folder.
	ErrFolderInUse = errors.New("another broker uses the folder")
	// ErrNotAdvertisable tells that clients can't be told where the broker is.
	ErrNotAdvertisable = errors.New("a broker that listens on all addresses must be told the one to advertise")
)

const (
	partitions = 12
	// A group that nobody was in for a while, because the network was stopped, keeps its offsets.
	offsetsRetentionMinutes = 365 * 24 * 60
)

// Start starts a broker and returns when it listens. The folder is made if need be, and
// what it holds is served again. The errors are ErrPortTaken, ErrFolderInUse,
// ErrNotAdvertisable, and those of the network and the file system.
func Start(c Config) (_ *Broker, err error) {
	host, portText, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("the broker's address %q is not host:port, such as 127.0.0.1:9092", c.Addr)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the broker's port %q is not a number from 0 to 65535", portText)
	}
	advertised := c.AdvertisedHost
	if advertised == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			return nil, fmt.Errorf("%w: give the name or address under which others reach this machine", ErrNotAdvertisable)
		}
		advertised = host
	}
	opts := []kfake.Opt{
		kfake.Ports(int(port)),
		kfake.ListenFn(func(string, string) (net.Listener, error) { return listen(host, int(port), advertised) }),
		kfake.DefaultNumPartitions(partitions),
		kfake.BrokerConfigs(map[string]string{
			"offsets.retention.minutes": strconv.Itoa(offsetsRetentionMinutes),
		}),
	}
	var folder *os.File
	if c.Dir != "" {
		if folder, err = takeFolder(c.Dir); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				_ = folder.Close()
			}
		}()
		opts = append(opts, kfake.DataDir(c.Dir), kfake.SyncWrites())
	}
	if c.Logger != nil {
		opts = append(opts, kfake.WithLogger(logger{c.Logger}))
	}
	cluster, err := kfake.NewCluster(opts...)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w: another program listens on %s; stop it or choose another port", ErrPortTaken, c.Addr)
	case err != nil:
		return nil, fmt.Errorf("the embedded broker can't start: %w", err)
	}
	s := &stamper{cluster: cluster}
	cluster.ControlKey(int16(kmsg.Produce), s.control)
	return &Broker{cluster: cluster, folder: folder, addr: cluster.ListenAddrs()[0]}, nil
}

// Addr is the advertised host and the port that clients connect to.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker; with a folder, everything is written to it first. Closing again does nothing.
func (b *Broker) Close() error {
	b.cluster.Close()
	if b.folder != nil {
		_ = b.folder.Close()
	}
	return nil
}

// logger hands kfake's lines on. What kfake calls info is a detail to everybody else.
type logger struct{ to *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.to.Error("embedded broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.to.Warn("embedded broker: " + fmt.Sprintf(format, args...))
	case kfake.LogLevelInfo, kfake.LogLevelDebug, kfake.LogLevelNone:
	}
}
