package wsgateway_test

// Real servers for tests: nats-server and the gateway, each on a port that stays the same over restarts.

import (
	"bufio"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	stream = "PRICES"
	// Subjects are channels behind this prefix.
	prefix = "p."
	// soon is how long anything may take on a machine that compiles at the same time.
	soon = time.Minute
	root = "../.."
)

type object = map[string]any

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool, context func() any) {
	t.Helper()
	for deadline := time.Now().Add(soon); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %+v", what, context())
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

var nextPort atomic.Int64

// freePort is a port that nobody listens on. It lies below those of outgoing connections (Linux: 32768 and up), so that no
// client takes one in between, above those of the Python client's tests, which run at the same time, and is handed out once,
// so that a server finds its own again after a restart.
func freePort(t *testing.T) int {
	t.Helper()
	for range 6_000 {
		port := 26_000 + (int64(os.Getpid())*97+nextPort.Add(1))%6_000
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = listener.Close()
			return int(port)
		}
	}
	t.Fatal("every port is taken")
	return 0
}

// server is a child process with its log in a file.
type server struct {
	t       *testing.T
	binary  string
	folder  string
	process *exec.Cmd
	done    chan struct{}
}

func newServer(t *testing.T, binary string) *server {
	s := &server{t: t, binary: binary, folder: t.TempDir()}
	t.Cleanup(func() { s.end(syscall.SIGKILL) })
	return s
}

func (s *server) log() string {
	text, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return string(text)
}

func (s *server) launch(ready func() bool, arguments ...string) {
	s.t.Helper()
	log := must[*os.File](s.t)(os.OpenFile(filepath.Join(s.folder, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600))
	defer log.Close()
	process, done := exec.Command(s.binary, arguments...), make(chan struct{})
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process, s.done = process, done
	go func() {
		_ = process.Wait()
		close(done)
	}()
	until(s.t, "a ready "+filepath.Base(s.binary), func() bool {
		select {
		case <-done:
			s.t.Fatal(s.log())
		default:
		}
		return ready()
	}, func() any { return s.log() })
}

func (s *server) end(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(signal)
	<-s.done
	s.process = nil
}

// natsServer is nats-server with a JetStream stream, and as much of a NATS client as tests need: requests over the text
// protocol.
type natsServer struct {
	*server
	port    int
	mu      sync.Mutex
	socket  net.Conn
	next    int
	waiting map[string]chan []byte
}

func startNats(t *testing.T, config object) *natsServer {
	t.Helper()
	path := must[[]byte](t)(exec.Command("bash", root+"/hack/tools", "--path", "nats-server").Output())
	n := &natsServer{server: newServer(t, strings.TrimSpace(string(path))), port: freePort(t), waiting: map[string]chan []byte{}}
	file := filepath.Join(n.folder, "nats.conf")
	text := fmt.Sprintf("listen: \"127.0.0.1:%d\"\njetstream { store_dir: %q }\n", n.port, filepath.Join(n.folder, "store"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.launch(func() bool {
		socket, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.port))
		n.socket = socket
		return err == nil
	}, "-c", file)
	t.Cleanup(func() { _ = n.socket.Close() })
	_, _ = io.WriteString(n.socket, "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB _INBOX.> 1\r\n")
	go n.read(bufio.NewReader(n.socket))
	n.createStream(config)
	return n
}

func (n *natsServer) createStream(config object) {
	n.t.Helper()
	body := object{"name": stream, "subjects": []string{prefix + ">"}, "storage": "file", "allow_direct": true}
	for key, value := range config {
		body[key] = value
	}
	n.request("$JS.API.STREAM.CREATE."+stream, body)
}

func (n *natsServer) deleteStream() {
	n.t.Helper()
	n.request("$JS.API.STREAM.DELETE."+stream, object{})
}

// publish stores a message on a channel; returns its offset.
func (n *natsServer) publish(channel string, payload any) int64 {
	n.t.Helper()
	return n.request(prefix+channel, payload)
}

func (n *natsServer) request(subject string, payload any) int64 {
	n.t.Helper()
	body, isBytes := payload.([]byte)
	if !isBytes {
		body = must[[]byte](n.t)(json.Marshal(payload))
	}
	answer := make(chan []byte, 1)
	n.mu.Lock()
	n.next++
	inbox := fmt.Sprintf("_INBOX.%d", n.next)
	n.waiting[inbox] = answer
	_, _ = fmt.Fprintf(n.socket, "PUB %s %s %d\r\n%s\r\n", subject, inbox, len(body), body)
	n.mu.Unlock()
	var result struct {
		Seq   int64
		Error any
	}
	select {
	case text := <-answer:
		if err := json.Unmarshal(text, &result); err != nil || result.Error != nil {
			n.t.Errorf("%s: %v %s", subject, err, text)
		}
	case <-time.After(soon):
		n.t.Errorf("%s: no answer", subject)
	}
	return result.Seq
}

func (n *natsServer) read(reader *bufio.Reader) {
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		switch {
		case fields[0] == "PING":
			n.mu.Lock()
			_, _ = io.WriteString(n.socket, "PONG\r\n")
			n.mu.Unlock()
		case strings.HasSuffix(fields[0], "MSG"):
			var size int
			_, _ = fmt.Sscan(fields[len(fields)-1], &size)
			body := make([]byte, size+2)
			if _, err := io.ReadFull(reader, body); err != nil {
				return
			}
			n.mu.Lock()
			if answer := n.waiting[fields[1]]; answer != nil {
				answer <- body[:size]
			}
			delete(n.waiting, fields[1])
			n.mu.Unlock()
		}
	}
}

// gateway is a gateway, ready.
type gateway struct {
	*server
	port, admin int
}

func startGateway(t *testing.T, nats *natsServer, extra object) *gateway {
	t.Helper()
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = root + "/target"
	}
	g := &gateway{newServer(t, filepath.Join(target, "debug", "gateway")), freePort(t), freePort(t)}
	config := object{
		"name": "test/prices",
		"source": object{"jetStream": object{
			"servers": []string{fmt.Sprintf("nats://127.0.0.1:%d", nats.port)}, "stream": stream,
		}},
		"channels": object{"stripPrefix": prefix},
		"drain":    object{"window": 0},
	}
	for key, value := range extra {
		config[key] = value
	}
	text := must[[]byte](t)(json.Marshal(config)) // YAML holds all of JSON
	if err := os.WriteFile(filepath.Join(g.folder, "gateway.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	g.startAgain()
	return g
}

func (g *gateway) url() string { return fmt.Sprintf("ws://127.0.0.1:%d/ws", g.port) }

var connections = regexp.MustCompile(`(?m)^wsgateway_connections(?:{[^}]*})? (\d+)`)

// clients is how many connections it holds.
func (g *gateway) clients() (sum int) {
	response := must[*http.Response](g.t)(http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", g.admin)))
	defer response.Body.Close()
	for _, found := range connections.FindAllStringSubmatch(string(must[[]byte](g.t)(io.ReadAll(response.Body))), -1) {
		n, _ := strconv.Atoi(found[1])
		sum += n
	}
	return sum
}

// startAgain starts it on the same port.
func (g *gateway) startAgain() {
	g.t.Helper()
	g.launch(func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", g.admin))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, "--config", filepath.Join(g.folder, "gateway.yaml"),
		"--listen", fmt.Sprintf("127.0.0.1:%d", g.port), "--admin", fmt.Sprintf("127.0.0.1:%d", g.admin))
}

// issuer issues tokens: a secret in a file for the configuration of a gateway, and tokens that are signed with it.
type issuer struct {
	t      *testing.T
	secret string
	file   string
	issued atomic.Int64
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t, secret: rand.Text() + rand.Text(), file: filepath.Join(t.TempDir(), "key")}
	if err := os.WriteFile(i.file, []byte(i.secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issuer) config() object {
	return object{"auth": object{"jwt": object{
		"keys": []object{{"file": i.file}}, "algorithms": []string{"HS256"}, "leeway": 0,
	}}}
}

// token is good for some seconds. Whole ones: exp is rounded up.
func (i *issuer) token(seconds int64) string {
	part := func(value any) string {
		return base64.RawURLEncoding.EncodeToString(must[[]byte](i.t)(json.Marshal(value)))
	}
	expires := time.Now().Add(time.Second-1).Unix() + seconds
	signed := part(object{"alg": "HS256"}) + "." + part(object{"sub": "ann", "exp": expires, "jti": fmt.Sprint(i.issued.Add(1))})
	signature := hmac.New(sha256.New, []byte(i.secret))
	signature.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature.Sum(nil))
}
