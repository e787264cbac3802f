terraform {
  backend "local" {
    path = "@STATE@/dns.tfstate"
  }
}

resource "terraform_data" "www" {
  input = "www.acme.example"
}

resource "terraform_data" "api" {
  input = "api.acme.example"
}

output "name" {
  value = terraform_data.www.output
}
