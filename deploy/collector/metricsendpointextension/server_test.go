package metricsendpointextension

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/zap"
)

// authority signs certificates of one test.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	one := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	one.certificate, one.key = one.sign(template, nil)
	return one
}

func (one *authority) sign(template *x509.Certificate, issuer *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		one.t.Fatal(err)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		one.t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		one.t.Fatal(err)
	}
	return certificate, key
}

func (one *authority) leaf(name string, usage x509.ExtKeyUsage) tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, key := one.sign(template, one)
	return tls.Certificate{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}
}

func write(t *testing.T, file, kind string, der []byte) string {
	name := filepath.Join(t.TempDir(), file)
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// endpoint starts the extension before sources that say these texts; a client with or without a certificate.
func endpoint(t *testing.T, authority *authority, sources ...string) func(...tls.Certificate) (int, string, error) {
	read, _ := listening(t, authority, sources...)
	return read
}

// listening is the same with the address.
func listening(t *testing.T, authority *authority, sources ...string) (func(...tls.Certificate) (int, string, error), string) {
	config := NewFactory().CreateDefaultConfig().(*Config)
	config.Readers = []string{"reader"}
	for _, text := range sources {
		source := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			if text == "" {
				http.Error(answer, "", http.StatusInternalServerError)
				return
			}
			_, _ = io.WriteString(answer, text)
		}))
		t.Cleanup(source.Close)
		config.Sources = append(config.Sources, source.URL+"/metrics")
	}
	leaf := authority.leaf("gateway", x509.ExtKeyUsageServerAuth)
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	config.TLS = configtls.NewDefaultServerConfig()
	config.TLS.CertFile = write(t, "tls.crt", "CERTIFICATE", leaf.Certificate[0])
	config.TLS.KeyFile = write(t, "tls.key", "PRIVATE KEY", key)
	config.TLS.ClientCAFile = write(t, "ca.crt", "CERTIFICATE", authority.certificate.Raw)
	config.TLS.ReloadClientCAFile = true
	config.TLS.MinVersion = "1.3"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config.Endpoint = listener.Addr().String()
	_ = listener.Close()
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	server := newServer(config, zap.NewNop())
	if err := server.Start(context.Background(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	return func(shown ...tls.Certificate) (int, string, error) {
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "gateway", Certificates: shown},
		}}
		defer client.CloseIdleConnections()
		response, err := client.Get("https://" + config.Endpoint + "/metrics")
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		return response.StatusCode, string(text), err
	}, config.Endpoint
}

const (
	ownMetrics = "# HELP up_a A.\n# TYPE up_a counter\nup_a{x=\"1\"} 1\n# TYPE target_info gauge\ntarget_info{a=\"b\"} 1\n"
	rules      = "# TYPE target_info gauge\ntarget_info{a=\"c\"} 1\n# HELP rules_b B.\n# TYPE rules_b counter\nrules_b 2\n"
)

func TestOnlyReadersWithACertificateReadMetrics(t *testing.T) {
	signer := newAuthority(t)
	read := endpoint(t, signer, ownMetrics)
	if _, _, err := read(); err == nil {
		t.Error("whoever shows no certificate reads nothing")
	}
	if _, _, err := read(newAuthority(t).leaf("reader", x509.ExtKeyUsageClientAuth)); err == nil {
		t.Error("a certificate of another authority is none")
	}
	if status, _, err := read(signer.leaf("node", x509.ExtKeyUsageClientAuth)); err != nil || status != http.StatusForbidden {
		t.Errorf("a certificate with another name: %d, %v", status, err)
	}
	status, text, err := read(signer.leaf("reader", x509.ExtKeyUsageClientAuth))
	if err != nil || status != http.StatusOK || text != ownMetrics {
		t.Errorf("%d, %v: %q", status, err, text)
	}
}

func TestConnectionsThatSayNothingKeepNoReaderOut(t *testing.T) {
	signer := newAuthority(t)
	read, address := listening(t, signer, ownMetrics)
	port := address[strings.LastIndex(address, ":"):]
	held := 0
	for host := 2; host < 30; host++ {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(host))}}
		for range 12 {
			conn, err := dialer.Dial("tcp", "127.0.0.1"+port)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			held++
		}
	}
	for range 3 {
		status, text, err := read(signer.leaf("reader", x509.ExtKeyUsageClientAuth))
		if err != nil || status != http.StatusOK || text != ownMetrics {
			t.Fatalf("beside %d connections: %d, %v: %q", held, status, err, text)
		}
	}
}

func TestConnectionsAreFew(t *testing.T) {
	listener := limit(nil)
	conn := func(address string) *connection {
		near, _ := net.Pipe()
		return &connection{Conn: near, of: listener, address: address, since: time.Now()}
	}
	for range mostOfAddress {
		if !listener.add(conn("a")) {
			t.Fatal("there is room")
		}
	}
	if listener.add(conn("a")) {
		t.Error("one address has too many")
	}
	for host := range mostConnections {
		listener.add(conn(string(rune('b' + host))))
	}
	if len(listener.open) != mostConnections {
		t.Errorf("%d connections", len(listener.open))
	}
	for one := range listener.open {
		one.asked = true
	}
	if listener.add(conn("late")) {
		t.Error("who asked is not sent away")
	}
	for one := range listener.open {
		_ = one.Close()
	}
	if len(listener.open) != 0 {
		t.Error("what is closed is forgotten")
	}
}

func TestSourcesAreOneTextWithEachFamilyOnce(t *testing.T) {
	signer := newAuthority(t)
	reader := signer.leaf("reader", x509.ExtKeyUsageClientAuth)
	_, text, err := endpoint(t, signer, ownMetrics, rules, "")(reader)
	if err != nil {
		t.Fatal(err)
	}
	after, found := strings.CutPrefix(text, ownMetrics+"# HELP rules_b B.\n# TYPE rules_b counter\nrules_b 2\n# http://127.0.0.1:")
	if !found || !strings.HasSuffix(after, "/metrics is not there\n") {
		t.Errorf("%q", text)
	}
	if status, _, _ := endpoint(t, signer, "", rules)(reader); status != http.StatusBadGateway {
		t.Errorf("without the collector's own metrics: %d", status)
	}
}

func TestSettingsThatLetAnybodyReadAreRefused(t *testing.T) {
	valid := func() *Config {
		config := NewFactory().CreateDefaultConfig().(*Config)
		config.Endpoint, config.TLS.ClientCAFile = "0.0.0.0:8889", "/ca.crt"
		config.Readers, config.Sources = []string{"reader"}, []string{"http://localhost:9091/metrics"}
		return config
	}
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"authority": func(config *Config) { config.TLS.ClientCAFile = "" },
		"readers":   func(config *Config) { config.Readers = nil },
		"sources":   func(config *Config) { config.Sources = nil },
		"elsewhere": func(config *Config) { config.Sources = []string{"http://169.254.169.254/metrics"} },
		"file":      func(config *Config) { config.Sources = []string{"file:///etc/passwd"} },
	} {
		config := valid()
		change(config)
		if config.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
