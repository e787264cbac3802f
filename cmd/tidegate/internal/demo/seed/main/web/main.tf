terraform {
  backend "local" {
    path = "@STATE@/web.tfstate"
  }
}

resource "terraform_data" "server" {
  count = 2
  input = "web-${count.index}"
}

output "servers" {
  value = terraform_data.server[*].output
}
