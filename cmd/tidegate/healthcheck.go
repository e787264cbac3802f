package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// healthcheckCommand asks the server of this machine whether it answers; for the image's HEALTHCHECK.
func healthcheckCommand() *cobra.Command {
	var listen, port string
	c := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the server on this machine whether it answers; for containers",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			lookup := withoutLinks(os.LookupEnv)
			for name, to := range map[string]*string{"listen": &listen, "port": &port} {
				if v, ok := lookup(env(name)); ok && !c.Flags().Changed(name) {
					*to = v
				}
			}
			return healthcheck(c.Context(), "http://"+localAddr(listen, port)+"/healthz")
		},
	}
	c.Flags().StringVar(&port, "port", "", "`PORT` that the server listens on (default TIDEGATE_PORT, or 4141)")
	c.Flags().StringVar(&listen, "listen", "", "`ADDR` that the server listens on (default TIDEGATE_LISTEN)")
	return c
}

// localAddr is where a server with these settings is reached from its own machine.
func localAddr(listen, port string) string {
	host := ""
	if h, p, err := net.SplitHostPort(listen); err == nil {
		host, port = h, p
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "4141"
	}
	return net.JoinHostPort(host, port)
}

func healthcheck(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil}}).Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, resp.Status)
	}
	return nil
}
