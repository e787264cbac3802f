terraform {
  backend "local" {
    path = "@STATE@/dns.tfstate"
  }
}

resource "terraform_data" "www" {
  input = "www.acme.example"
}

output "name" {
  value = terraform_data.www.output
}
