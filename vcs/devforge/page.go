package devforge

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

func (f *Forge) pages(r chi.Router) {
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("devforge\n")) })
}
