terraform {
  backend "local" {
    path = "@STATE@/database.tfstate"
  }
}

variable "password" {
  type      = string
  sensitive = true
  default   = "correct horse battery staple"
}

resource "terraform_data" "db" {
  input = {
    engine   = "postgres"
    password = var.password
  }
}
