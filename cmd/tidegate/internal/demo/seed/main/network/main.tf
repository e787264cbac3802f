terraform {
  backend "local" {
    path = "@STATE@/network.tfstate"
  }
}

resource "terraform_data" "gateway" {
  input = "small"
}

resource "terraform_data" "subnet" {
  input = "private-a"
}

output "gateway" {
  value = terraform_data.gateway.output
}
